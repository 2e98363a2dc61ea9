package hwmon

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// MaxPower bounds what is taken for a power, in any zone. A fully fitted rack draws less.
const MaxPower energy.Watts = 100_000

// maxText bounds the content of a file. The longest number has 20 digits; labels are short words.
const maxText = 64

// A readFunc reads the beginning of a file into p, as one read(2) returns it.
type readFunc func(path string, p []byte) (int, error)

// readFile opens the file anew each time: where the path is gone, so is the device.
func readFile(path string, p []byte) (int, error) {
	// O_NONBLOCK: opening a FIFO that stands where a file should be must not hang.
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) })
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }() // opened for reading: nothing to lose
	n, err := retry(func() (int, error) { return unix.Read(fd, p) })
	return max(n, 0), err
}

func retry(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// readText reads a file that holds one short line, and returns it without its newline.
func readText(read readFunc, path string) (string, error) {
	var buf [maxText]byte
	n, err := read(path, buf[:])
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", path, err)
	case n == len(buf):
		return "", fmt.Errorf("%s holds %d bytes or more: %.32q", path, n, buf[:n])
	}
	return strings.TrimSuffix(string(buf[:n]), "\n"), nil
}

// readNumber reads a file that holds a number that is not negative.
func readNumber(read readFunc, path string) (uint64, error) {
	text, err := readText(read, path)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %.32q, want a number that is not negative", path, text)
	}
	return v, nil
}

// refuse returns why a reading is none, nil if it is one. Where a driver has nothing to show, many
// show all ones.
func (q quantity) refuse(v uint64) error {
	switch {
	case q == quantityEnergy && v > math.MaxInt64: // drivers count in a signed long
		return fmt.Errorf("%d µJ is refused: it is more than a driver can count", v)
	case q == quantityPower && v > uint64(MaxPower*1e6):
		return fmt.Errorf("%d µW is refused: it is more than %v", v, MaxPower)
	case q == quantityPower && (v == math.MaxUint32 || v == math.MaxInt32):
		return fmt.Errorf("%d µW is refused: it is a register of ones", v)
	}
	return nil
}
