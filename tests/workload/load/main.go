// Command load sends requests and tells the truth about them: each is sent once, and counts as a failure unless the answer
// is 200 and answers just that request.
//
//	load --url http://web.shop/ --duration 30s       a new connection for each POST; JSON on exit (see Summary)
//	load --url http://web.shop/ --keepalive          a long-lived connection for each worker; until SIGINT or SIGTERM
//	load --url ws://web.shop/ws                      messages over a WebSocket for each worker
//	load --grpc web.shop:9090                        unary calls over a channel for each worker
//	load first --url http://web.shop/ --header x-user=alice --expect-name alice
//	                                                 milliseconds until alice answers first
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "first" {
		first(ctx, os.Args[2:])
		return
	}

	var to target
	flags := to.flags("load")
	workers := flags.Int("workers", 8, "how many send at the same time")
	interval := flags.Duration("interval", 20*time.Millisecond, "between two requests of a worker")
	timeout := flags.Duration("timeout", 5*time.Second, "for one request")
	duration := flags.Duration("duration", 0, "how long to send; 0: until SIGINT or SIGTERM")
	follow := flags.Bool("follow", false, "print a line each second: what has ended since the line before")
	parse(flags, os.Args[1:])
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}

	t := newTally(to.expect)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx, &to, t, *workers, *interval, *timeout)
	}()
	if *follow {
		followed(t, done)
	}
	<-done
	emit(t.summary(to.connections.Load()))
}

// followed prints a line each second, and one for the rest.
func followed(t *tally, done <-chan struct{}) {
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	for {
		select {
		case <-seconds.C:
			emit(t.lap())
		case <-done:
			emit(t.lap())
			return
		}
	}
}

func emit(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		log.Fatal(err)
	}
}

func parse(flags *flag.FlagSet, arguments []string) {
	_ = flags.Parse(arguments) // it exits by itself
	if flags.NArg() > 0 {
		log.Fatalf("load: what is %q?", flags.Arg(0))
	}
}
