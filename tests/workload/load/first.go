package main

import (
	"context"
	"fmt"
	"log"
	"time"
)

const attempt = time.Second // a try that hangs must not hide that the next one would be answered

// first polls, each time over a new connection, until who is expected answers: it prints the milliseconds that took.
func first(ctx context.Context, arguments []string) {
	var to target
	flags := to.flags("load first")
	interval := flags.Duration("interval", 5*time.Millisecond, "between two tries")
	timeout := flags.Duration("timeout", time.Minute, "until it gives up, with exit status 1")
	parse(flags, arguments)

	start := time.Now()
	for try := 1; ; try++ {
		begun := time.Now()
		c := to.caller()
		name, err := callWithin(attempt, c, fmt.Sprintf("try %d", try))
		c.close()
		elapsed := time.Since(start)
		if err == nil && to.expect.MatchString(name) {
			fmt.Println(milliseconds(elapsed))
			return
		}
		if elapsed > *timeout || ctx.Err() != nil {
			log.Fatalf("load first: none of %d tries was answered by %q; last: %q, error: %v", try, to.expect, name, err)
		}
		time.Sleep(time.Until(begun.Add(*interval)))
	}
}
