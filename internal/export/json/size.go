package json

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// A Size is a number of bytes. As text it has a unit: 4kB, 100MB, 1.5GB.
type Size uint64

const (
	kilobyte Size = 1000
	megabyte      = 1000 * kilobyte
	gigabyte      = 1000 * megabyte
)

// String writes the size in the largest unit that leaves it whole.
func (s Size) String() string {
	unit, name := Size(1), "B"
	switch {
	case s == 0:
	case s%gigabyte == 0:
		unit, name = gigabyte, "GB"
	case s%megabyte == 0:
		unit, name = megabyte, "MB"
	case s%kilobyte == 0:
		unit, name = kilobyte, "kB"
	}
	return strconv.FormatUint(uint64(s/unit), 10) + name
}

// UnmarshalText reads a decimal number and its unit: B, kB, MB or GB, which are powers of 1000.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), Size(0)
	for _, u := range []struct {
		suffix string
		unit   Size
	}{{"kB", kilobyte}, {"MB", megabyte}, {"GB", gigabyte}, {"B", 1}} {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.unit
			break
		}
	}
	if unit == 0 {
		return errors.New("a size needs a unit: B, kB, MB or GB")
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return errors.New("not a number")
	}
	v *= float64(unit)
	if !(v >= 0 && v < 1<<53) || v != math.Trunc(v) { // above 2^53 a float64 skips whole numbers
		return errors.New("not a whole number of bytes")
	}
	*s = Size(v)
	return nil
}
