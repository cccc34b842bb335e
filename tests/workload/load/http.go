package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"bascule.dev/workload/echo"
)

type httpCaller struct {
	to        *target
	transport *http.Transport
}

// call uses the transport itself: a client would follow redirects. The transport would send a request again over a new
// connection when a used one fails, if it could have the body again: so it can not (net/http, Transport).
func (c httpCaller) call(ctx context.Context, text string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.to.url, strings.NewReader(text))
	if err != nil {
		return "", err
	}
	request.GetBody = nil
	request.Header = c.to.headers.Clone()
	request.Host = c.to.host
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %.100q", response.Status, data)
	}
	return echo.Named(data, text)
}

func (c httpCaller) close() {
	c.transport.CloseIdleConnections()
}
