package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// work sends until ctx ends, and waits for the answers to what it has sent. The workers begin spread over one interval.
func work(ctx context.Context, to *target, t *tally, workers int, interval, timeout time.Duration) {
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			c := to.caller()
			defer c.close()
			time.Sleep(interval * time.Duration(worker) / time.Duration(workers))
			ticks := time.NewTicker(interval)
			defer ticks.Stop()
			for request := 0; ctx.Err() == nil; request++ {
				begun := time.Now()
				name, err := callWithin(timeout, c, fmt.Sprintf("request %d of worker %d", request, worker))
				t.record(begun, time.Since(begun), name, err)
				select {
				case <-ctx.Done():
				case <-ticks.C:
				}
			}
		})
	}
	all.Wait()
}

func callWithin(timeout time.Duration, c caller, text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.call(ctx, text)
}
