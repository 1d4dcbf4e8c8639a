// How many spans a Badger directory of Jaeger's holds: opens it as Jaeger does after a stop, and counts the keys of
// spans (their indexes have prefixes of their own).
//
//	jaeger-count DIRECTORY
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// spanPrefix is the first byte of a span's key: <prefix><trace id><start, us><span id>.
const spanPrefix = 0x80

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: jaeger-count DIRECTORY")
	}
	store, err := badger.Open(badger.DefaultOptions(os.Args[1]).WithLogger(nil))
	if err != nil {
		log.Fatal(err)
	}
	spans := 0
	err = store.View(func(txn *badger.Txn) error {
		options := badger.DefaultIteratorOptions
		options.PrefetchValues = false
		options.Prefix = []byte{spanPrefix}
		found := txn.NewIterator(options)
		defer found.Close()
		for found.Rewind(); found.Valid(); found.Next() {
			spans++
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(spans)
}
