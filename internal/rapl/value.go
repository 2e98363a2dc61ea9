package rapl

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/scaph/scaph/internal/energy"
)

// maxValue bounds the content of a file that holds one value. The longest number has 20 digits and
// a newline; longer content is no value, and names are shorter too.
const maxValue = 64

// parseMicrojoules reads the content of energy_uj or max_energy_range_uj: decimal digits and at most one newline
// after them. Anything else is an error, even if it begins like a number: a page that a file
// system pads with NUL bytes, for instance. terminated says whether the newline was there; the
// kernel always writes it, simpler trees do not.
func parseMicrojoules(content []byte) (value energy.Microjoules, terminated bool, err error) {
	digits := content
	if n := len(content); n > 0 && content[n-1] == '\n' {
		digits, terminated = content[:n-1], true
	}
	if len(digits) == 0 {
		return 0, false, errors.New("it is empty, want a number of microjoules")
	}
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false, fmt.Errorf("it holds %s, want a number of microjoules", quote(content))
		}
		d := uint64(c - '0')
		if v > (math.MaxUint64-d)/10 {
			return 0, false, fmt.Errorf("it holds %s, more than 64 bits of microjoules", quote(content))
		}
		v = v*10 + d
	}
	return energy.Microjoules(v), terminated, nil
}

// A line is the content of a file that holds one short line.
type line struct {
	text       string // without its newline
	terminated bool   // there was one
	err        error  // why there is no text
}

func readLine(files files, path string) line {
	fd, err := files.open(path)
	if err != nil {
		return line{err: err}
	}
	defer files.close(fd)
	var buf [maxValue]byte
	n, err := files.pread(fd, buf[:])
	if err != nil {
		return line{err: err}
	}
	if n == len(buf) {
		return line{err: fmt.Errorf("it holds %d bytes or more: %s", n, quote(buf[:n]))}
	}
	text, terminated := strings.CutSuffix(string(buf[:n]), "\n")
	return line{text: text, terminated: terminated}
}

// quote shows content from outside within an error or a log line: escaped and bounded.
func quote(content []byte) string {
	const most = 32
	if len(content) > most {
		return strconv.Quote(string(content[:most])) + "…"
	}
	return strconv.Quote(string(content))
}
