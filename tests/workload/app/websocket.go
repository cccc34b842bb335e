package main

import (
	"log"
	"net/http"

	"github.com/coder/websocket"

	"bascule.dev/workload/echo"
)

// serveWebSocket answers each message by a Line of the same kind, until the client goes.
func (a app) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // from any origin
	if err != nil {
		log.Print(err)
		return
	}
	defer connection.CloseNow()
	for {
		kind, text, err := connection.Read(r.Context())
		if err != nil {
			return
		}
		if err := connection.Write(r.Context(), kind, []byte(echo.Line(a.name, string(text)))); err != nil {
			return
		}
	}
}
