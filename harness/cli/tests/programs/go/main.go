// What a worker keeps, and in which way: worker WAY.
//
//	add, add-sort, add-sweep         a set in a JSON file, see index.go
//	excl-wait, excl-dead, excl-same  a lock that is a file, see lock.go

package main

import "os"

func main() {
	switch way := os.Args[1]; way {
	case "add", "add-sort", "add-sweep":
		serve(index(way))
	default:
		serve(lock(way))
	}
}
