package json

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
)

// A file is looked through from its end for its last whole report, in pieces of so many bytes, up to far more than a report
// has.
const (
	firstTail = 64 << 10
	lastTail  = 16 << 20
)

// whole finds the end of the last whole report in a file, without what follows it: 0 where there is none. What may stand
// behind it is what a crash has left of one report. A file that holds anything else is an error: it is somebody's.
func whole(f *os.File, array bool) (end, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, 0, errors.New("it is no regular file; without a file, reports go to standard output")
	}
	size = info.Size()
	begin := []byte(`{"time":"`)
	if array {
		begin = []byte("[\n" + `{"host":{`)
	}
	head := make([]byte, min(int64(len(begin)), size))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, size, err
	}
	if !bytes.HasPrefix(begin, head) {
		return 0, size, errForeign
	}
	for length := int64(firstTail); ; length *= 16 {
		from := max(0, size-length)
		text := make([]byte, size-from)
		if _, err := f.ReadAt(text, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, size, err
		}
		end, err = lastWhole(text, from == 0, array)
		if !errors.Is(err, errShort) {
			return from + end, size, err
		}
		if length >= lastTail {
			return 0, size, errForeign
		}
	}
}

// errShort is that more of the file is to be looked at.
var errShort = errors.New("no line begins here")

// lastWhole is whole for the text at the end of a file, which may be all of it.
func lastWhole(text []byte, all, array bool) (end int64, err error) {
	rest := text
	for len(rest) > 0 {
		start := bytes.LastIndexByte(rest[:len(rest)-1], '\n') + 1
		if start == 0 && !all {
			return 0, errShort
		}
		line := rest[start:]
		report, ended := bytes.CutSuffix(line, []byte("\n"))
		switch bare := bytes.TrimSuffix(report, []byte(",")); {
		case !ended || array && (string(report) == "]" || start == 0 && string(report) == "["):
		case !bytes.HasPrefix(report, []byte("{")):
			return 0, errForeign
		case array && json.Valid(bare):
			return int64(start + len(bare)), nil
		case !array && json.Valid(report):
			return int64(start + len(line)), nil
		default:
			return 0, errForeign
		}
		rest = rest[:start]
	}
	return 0, nil
}
