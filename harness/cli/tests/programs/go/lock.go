// A lock that is a file.
//
//	excl-wait  whoever creates it has it; who finds it held tries again after a while
//	excl-dead  the number of the holder is in it, and the lock of a dead one is removed. So may another who found
//	           the same one, and then removes the new one
//	excl-same  who finds the same lock after a while as before takes it for one of a dead holder

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const patience = 250 * time.Millisecond

func create(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, os.Getpid())
	return err
}

// removeDead removes a lock that names a process that is no more. One that names nobody yet is left alone.
func removeDead(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
		os.Remove(path)
	}
}

func lock(way string) map[string]operation {
	return map[string]operation{
		"acquire": func(asked request) (*[]string, error) {
			until := time.Now().Add(patience)
			var before os.FileInfo
			for {
				err := create(asked.Path)
				if !os.IsExist(err) || time.Now().After(until) {
					return nil, err
				}
				switch way {
				case "excl-dead":
					removeDead(asked.Path)
				case "excl-same":
					if found, err := os.Stat(asked.Path); err == nil {
						if before != nil && os.SameFile(before, found) {
							os.Remove(asked.Path)
							continue
						}
						before = found
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
		},
		"release": func(asked request) (*[]string, error) {
			return nil, os.Remove(asked.Path)
		},
	}
}
