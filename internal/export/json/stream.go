package json

import (
	"io"
	"time"
)

// A stream is standard output, from which nothing can be taken back: when it fails, the program ends.
type stream struct {
	out   io.Writer
	array bool
	began bool
}

func (s *stream) write(_ time.Time, report []byte) error {
	var text []byte
	switch {
	case !s.array:
	case s.began:
		text = append(text, ",\n"...)
	default:
		text = append(text, "[\n"...)
	}
	text = append(text, report...)
	if !s.array {
		text = append(text, '\n')
	}
	s.began = true
	_, err := s.out.Write(text)
	return err
}

func (s *stream) close() error {
	end := ""
	switch {
	case s.array && s.began:
		end = arrayEnd
	case s.array:
		end = "[]\n"
	}
	_, err := io.WriteString(s.out, end)
	return err
}
