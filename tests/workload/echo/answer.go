// Package echo is what app answers and load understands.
package echo

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Answer says who answered a request, and what of it arrived.
type Answer struct {
	Name     string              `json:"name"`
	Hostname string              `json:"hostname"`
	Protocol string              `json:"protocol"`
	Method   string              `json:"method"`
	Host     string              `json:"host"`
	Path     string              `json:"path"`    // as sent, with the query
	Headers  map[string][]string `json:"headers"` // names in lower case
	Length   int64               `json:"length"`  // of the body, in bytes
	SHA256   string              `json:"sha256"`  // of the body, in hexadecimal
	Remote   string              `json:"remote"`  // address and port of the peer
}

// Read takes length and digest of body into the answer.
func (a *Answer) Read(body io.Reader) (err error) {
	digest := sha256.New()
	a.Length, err = io.Copy(digest, body)
	a.SHA256 = hex.EncodeToString(digest.Sum(nil))
	return err
}

// Named gives the name in a JSON answer to text, and an error when data is no such answer.
func Named(data []byte, text string) (string, error) {
	var got, want Answer
	if err := json.Unmarshal(data, &got); err != nil {
		return "", fmt.Errorf("no answer of an app: %.100q", data)
	}
	if err := want.Read(strings.NewReader(text)); err != nil {
		return "", err
	}
	if got.Length != want.Length || got.SHA256 != want.SHA256 {
		return "", fmt.Errorf("the answer of %q is to another body", got.Name)
	}
	return got.Name, nil
}

// Line is the answer where a text comes back itself: a line of TCP, a message of a WebSocket or a gRPC stream.
func Line(name, text string) string {
	return name + " " + text
}

// NamedLine gives the name in a Line that answers text.
func NamedLine(line, text string) (string, error) {
	name, ok := strings.CutSuffix(line, " "+text)
	if !ok {
		return "", errors.New("no echo: " + line)
	}
	return name, nil
}
