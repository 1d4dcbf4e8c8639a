// How many spans the collector's file exporter has written in its `proto` format: messages of OTLP, each behind its
// length in four bytes, big-endian. A file that ends inside a message is counted up to there.
//
//	collector-count FILE
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

func count(from io.Reader) (int, error) {
	spans := 0
	decoder := ptrace.ProtoUnmarshaler{}
	for {
		var length [4]byte
		if _, err := io.ReadFull(from, length[:]); err != nil {
			return spans, err
		}
		message := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(from, message); err != nil {
			return spans, err
		}
		traces, err := decoder.UnmarshalTraces(message)
		if err != nil {
			return spans, err
		}
		spans += traces.SpanCount()
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: collector-count FILE")
	}
	file, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	spans, err := count(bufio.NewReaderSize(file, 1<<20))
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		log.Fatal(err)
	}
	fmt.Println(spans)
}
