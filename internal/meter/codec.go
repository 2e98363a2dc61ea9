package meter

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// An encoder writes the state's primitive values: unsigned varints and strings with their length.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// seal ends the state with its checksum.
func (e *encoder) seal() []byte {
	e.b = binary.LittleEndian.AppendUint32(e.b, crc32.ChecksumIEEE(e.b))
	return e.b
}

var errDamaged = errors.New("the state is damaged: cut off, or its checksum does not fit")

// A decoder reads what an encoder wrote. After the first value that is not there, err is set and
// all values are zero.
type decoder struct {
	b       []byte
	version int
	err     error
}

// unseal checks and takes off the checksum.
func unseal(b []byte) decoder {
	if len(b) < 4 {
		return decoder{err: errDamaged}
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(b[len(body):]) {
		return decoder{err: errDamaged}
	}
	return decoder{b: body}
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err, d.b = errDamaged, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bool() bool { return d.uint() != 0 }

// count reads the length of a list whose elements take at least a byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.err, d.b = errDamaged, nil
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
