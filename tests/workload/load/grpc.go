package main

import (
	"context"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"bascule.dev/workload/echo"
)

type grpcCaller struct {
	to      *target
	channel *grpc.ClientConn
}

// newGRPCCaller has a channel that repeats no call that a server may have seen. gRPC itself sends again what no server
// has processed, and no client can forbid it (gRFC A6, transparent retries).
func newGRPCCaller(to *target) grpcCaller {
	channel, err := grpc.NewClient(
		"passthrough:///"+to.grpc,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(to.host),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return to.dial(ctx, "tcp", address) }),
	)
	if err != nil {
		log.Fatal(err)
	}
	return grpcCaller{to, channel}
}

func (c grpcCaller) call(ctx context.Context, text string) (string, error) {
	for name, values := range c.to.headers {
		for _, value := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	answer, err := echo.Call(ctx, c.channel, text)
	if err != nil {
		return "", err
	}
	return echo.Named([]byte(answer), text)
}

func (c grpcCaller) close() {
	c.channel.Close()
}
