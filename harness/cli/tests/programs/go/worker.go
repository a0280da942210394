// The worker side of tearproof's protocol: one JSON object a line, and one answer to each.

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// A request: an operation, the file that it is about, and what it is to add.
type request struct {
	T       string `json:"t"`
	ID      uint64 `json:"id"`
	Op      string `json:"op"`
	Path    string `json:"path"`
	Element string `json:"element"`
}

// An answer. What a read saw is in Elements.
type answer struct {
	T        string    `json:"t"`
	Proto    int       `json:"proto,omitempty"`
	Name     string    `json:"name,omitempty"`
	Ops      []string  `json:"ops,omitempty"`
	ID       uint64    `json:"id,omitempty"`
	Elements *[]string `json:"elements,omitempty"`
	Error    string    `json:"error,omitempty"`
	Busy     bool      `json:"busy,omitempty"`
}

type operation func(request) (*[]string, error)

// serve answers requests with functions named after the operations.
func serve(operations map[string]operation) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		if asked.T == "stop" {
			return
		}
		told := answer{T: "ready", Proto: 1, Name: "go"}
		if asked.T == "hello" {
			for name := range operations {
				told.Ops = append(told.Ops, name)
			}
		} else {
			elements, err := operations[asked.Op](asked)
			told = answer{T: "ok", ID: asked.ID, Elements: elements}
			if err != nil {
				// Who only looked, or got no lock, changed nothing.
				told.T = "info"
				if asked.Op == "read" || asked.Op == "acquire" {
					told.T = "fail"
				}
				told.Error, told.Busy = err.Error(), errors.Is(err, fs.ErrExist)
			}
		}
		line, err := json.Marshal(told)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}
