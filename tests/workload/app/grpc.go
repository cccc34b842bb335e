package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"bascule.dev/workload/echo"
)

func (a app) grpcServer() *grpc.Server {
	server, checks := grpc.NewServer(), health.NewServer()
	if wait := time.Until(a.readyAt); wait > 0 {
		checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		time.AfterFunc(wait, func() { checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING) })
	}
	grpc_health_v1.RegisterHealthServer(server, checks)
	echo.Register(server, a)
	return server
}

// Unary implements echo.Server.
func (a app) Unary(ctx context.Context, text string) (string, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	method, _ := grpc.Method(ctx)
	answer := echo.Answer{
		Name: a.name, Hostname: a.hostname, Protocol: "gRPC", Method: http.MethodPost,
		Host: strings.Join(headers.Get(":authority"), ""), Path: method, Headers: headers,
	}
	if caller, ok := peer.FromContext(ctx); ok {
		answer.Remote = caller.Addr.String()
	}
	if err := answer.Read(strings.NewReader(text)); err != nil {
		return "", err
	}
	data, err := json.Marshal(answer)
	return string(data), err
}

// Message implements echo.Server.
func (a app) Message(text string) string {
	return echo.Line(a.name, text)
}
