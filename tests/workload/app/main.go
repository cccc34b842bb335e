// Command app stands for a user's application: over HTTP, HTTPS, gRPC, TCP and WebSocket it says who answers and what arrived.
//
// Each flag can be given as a variable too: --ready-after as APP_READY_AFTER. It prints one line, protocol and address,
// for each port it listens on. On SIGTERM it stops at once, as many applications do, unless it is --graceful.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type app struct {
	name, hostname string
	readyAt        time.Time
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	hostname, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	name := flag.String("name", hostname, "who answers")
	httpAddress := flag.String("http", ":8080", "address for HTTP/1.1, h2c and WebSocket (/ws)")
	grpcAddress := flag.String("grpc", ":9090", "address for gRPC")
	tcpAddress := flag.String("tcp", ":7000", "address for lines over TCP")
	httpsAddress := flag.String("https", "", "address for HTTPS, HTTP/2 and WebSocket (/ws), if any")
	certificate := flag.String("certificate", "/tls/tls.crt", "its certificate")
	key := flag.String("key", "/tls/tls.key", "and the key of that")
	delay := flag.Duration("http-delay-start", 0, "time until it listens for HTTP")
	readyAfter := flag.Duration("ready-after", 0, "time until /healthz and gRPC's health service say yes")
	graceful := flag.Bool("graceful", false, "on SIGTERM, answer what has begun")
	fromEnvironment(flag.CommandLine)
	flag.Parse()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	a := app{*name, hostname, time.Now().Add(*readyAfter)}
	web, secure, rpc := a.httpServer(), a.httpServer(), a.grpcServer()
	go a.serveTCP(listen("tcp", *tcpAddress))
	go serve(rpc.Serve, listen("grpc", *grpcAddress))
	if *httpsAddress != "" {
		go serve(func(on net.Listener) error { return secure.ServeTLS(on, *certificate, *key) }, listen("https", *httpsAddress))
	}
	go func() {
		time.Sleep(*delay)
		serve(web.Serve, listen("http", *httpAddress))
	}()

	<-stop
	if !*graceful {
		os.Exit(128 + int(syscall.SIGTERM))
	}
	var all sync.WaitGroup
	all.Go(rpc.GracefulStop)
	all.Go(func() { shutdown(web) })
	all.Go(func() { shutdown(secure) })
	all.Wait()
}

// fromEnvironment sets what has a variable; the command line may still say otherwise.
func fromEnvironment(flags *flag.FlagSet) {
	flags.VisitAll(func(f *flag.Flag) {
		variable := "APP_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := os.LookupEnv(variable); ok {
			if err := f.Value.Set(value); err != nil {
				log.Fatalf("%s: %v", variable, err)
			}
		}
	})
}

func listen(protocol, address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(protocol, listener.Addr())
	return listener
}
