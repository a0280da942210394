// A set in a JSON file behind a mutex: each update reads it, adds an element, writes a temporary file of a fixed
// name, and renames it. The mutex keeps apart the goroutines of one process, and knows nothing of other processes.
//
//	add            adds
//	add-sort       adds, and sorts at the same time in another goroutine
//	add-sweep      adds when three goroutines have removed what others may have left

package main

import (
	"encoding/json"
	"os"
	"sort"
	"sync"
)

var mutex sync.Mutex

type document struct {
	Elements []string `json:"elements"`
}

func load(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found document
	err = json.Unmarshal(text, &found)
	return found.Elements, err
}

func change(path string, how func([]string) []string) error {
	mutex.Lock()
	defer mutex.Unlock()
	elements, err := load(path)
	if err != nil {
		return err
	}
	text, err := json.Marshal(document{how(elements)})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func sorted(elements []string) []string {
	sort.Strings(elements)
	return elements
}

// sweep removes leftovers. That there are none takes two calls each to find out.
func sweep(path string) {
	var all sync.WaitGroup
	for _, name := range []string{".old", ".bak", ".new"} {
		name := name
		all.Add(1)
		go func() {
			defer all.Done()
			os.Remove(path + name)
		}()
	}
	all.Wait()
}

func index(way string) map[string]operation {
	return map[string]operation{
		"read": func(asked request) (*[]string, error) {
			elements, err := load(asked.Path)
			return &elements, err
		},
		"update": func(asked request) (*[]string, error) {
			add := func(elements []string) []string { return append(elements, asked.Element) }
			if way == "add-sweep" {
				sweep(asked.Path)
			}
			if way != "add-sort" {
				return nil, change(asked.Path, add)
			}
			done := make(chan error)
			for _, how := range []func([]string) []string{add, sorted} {
				how := how
				go func() { done <- change(asked.Path, how) }()
			}
			first, second := <-done, <-done
			if first != nil {
				return nil, first
			}
			return nil, second
		},
	}
}
