package main

import (
	"bufio"
	"fmt"
	"log"
	"net"

	"bascule.dev/workload/echo"
)

func (a app) serveTCP(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go a.serveLines(connection)
	}
}

// serveLines answers each line by a Line, until the client goes.
func (a app) serveLines(connection net.Conn) {
	defer connection.Close()
	for lines := bufio.NewScanner(connection); lines.Scan(); {
		if _, err := fmt.Fprintln(connection, echo.Line(a.name, lines.Text())); err != nil {
			return
		}
	}
}
