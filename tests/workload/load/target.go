package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
)

// A caller sends a text, once, and says who answered it.
type caller interface {
	call(ctx context.Context, text string) (name string, err error)
	close()
}

// target is where requests go, and with what.
type target struct {
	url, grpc   string
	keepalive   bool
	headers     http.Header
	host        string
	expect      *regexp.Regexp
	connections atomic.Int64 // opened so far
}

func (to *target) flags(command string) *flag.FlagSet {
	to.headers, to.expect = http.Header{}, regexp.MustCompile("")
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	flags.StringVar(&to.url, "url", "http://127.0.0.1:8080/", "http:// or https:// for POST, ws:// or wss:// for a WebSocket")
	flags.StringVar(&to.grpc, "grpc", "", "`address` for gRPC, instead of --url")
	flags.BoolVar(&to.keepalive, "keepalive", false, "one connection for many requests")
	flags.Func("header", "`name=value` to send; may be repeated", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("no = in it")
		}
		if strings.EqualFold(name, "host") {
			to.host = value
		} else {
			to.headers.Add(name, value)
		}
		return nil
	})
	flags.Func("expect-name", "`regex` of who must answer, the whole name; anybody else counts as misrouted", func(text string) (err error) {
		to.expect, err = regexp.Compile("^(?:" + text + ")$")
		return err
	})
	return flags
}

func (to *target) caller() caller {
	switch {
	case to.grpc != "":
		return newGRPCCaller(to)
	case strings.HasPrefix(to.url, "ws"):
		return &webSocketCaller{to: to}
	default:
		return httpCaller{to, to.transport()}
	}
}

func (to *target) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		to.connections.Add(1)
	}
	return connection, err
}

// transport knows no proxy, and HTTP/1.1 alone.
func (to *target) transport() *http.Transport {
	return &http.Transport{DialContext: to.dial, DisableKeepAlives: !to.keepalive}
}
