package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bascule.dev/workload/echo"
)

func (a app) httpServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	// No ServeMux: it would answer a path such as //a by a redirect.
	return &http.Server{Handler: http.HandlerFunc(a.serveHTTP), Protocols: &protocols}
}

func (a app) serveHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		if time.Now().Before(a.readyAt) {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	case "/ws":
		a.serveWebSocket(w, r)
	case "/slow":
		milliseconds, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil {
			http.Error(w, "/slow?ms=NUMBER", http.StatusBadRequest)
			return
		}
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
		a.answer(w, r)
	default:
		a.answer(w, r)
	}
}

func (a app) answer(w http.ResponseWriter, r *http.Request) {
	answer := echo.Answer{
		Name: a.name, Hostname: a.hostname, Protocol: r.Proto, Method: r.Method, Host: r.Host, Path: r.RequestURI,
		Headers: map[string][]string{}, Remote: r.RemoteAddr,
	}
	for name, values := range r.Header {
		answer.Headers[strings.ToLower(name)] = values
	}
	if err := answer.Read(r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

// serve runs until its server is stopped.
func serve(run func(net.Listener) error, listener net.Listener) {
	if err := run(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func shutdown(server *http.Server) {
	if err := server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
}
