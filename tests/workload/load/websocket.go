package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"bascule.dev/workload/echo"
)

// webSocketCaller keeps one connection, and opens another after a failure.
type webSocketCaller struct {
	to         *target
	connection *websocket.Conn
}

func (c *webSocketCaller) call(ctx context.Context, text string) (name string, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.connection == nil {
		client := &http.Client{Transport: c.to.transport()}
		options := &websocket.DialOptions{HTTPClient: client, HTTPHeader: c.to.headers, Host: c.to.host}
		if c.connection, _, err = websocket.Dial(ctx, c.to.url, options); err != nil {
			return "", err
		}
	}
	if err := c.connection.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return "", err
	}
	_, line, err := c.connection.Read(ctx)
	if err != nil {
		return "", err
	}
	return echo.NamedLine(string(line), text)
}

func (c *webSocketCaller) close() {
	if c.connection != nil {
		c.connection.CloseNow()
		c.connection = nil
	}
}
