package rapl

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"github.com/scaph/scaph/internal/energy"
)

func TestParseMicrojoules(t *testing.T) {
	for content, want := range map[string]energy.Microjoules{
		"0\n":                    0,
		"1":                      1,
		"262143328850\n":         262143328850,
		"18446744073709551615\n": math.MaxUint64,
	} {
		got, terminated, err := parseMicrojoules([]byte(content))
		if err != nil || got != want || terminated != strings.HasSuffix(content, "\n") {
			t.Errorf("%q: %d, %v, %v", content, got, terminated, err)
		}
	}
	for _, content := range []string{
		"", "\n", "\n\n", "1\n\n", " 1", "1 ", "+1", "-1", "0x10", "1e3", "1.5", "1\x002", "12\x00\x00",
		"18446744073709551616", "99999999999999999999", strings.Repeat("9", maxValue), "١",
	} {
		got, _, err := parseMicrojoules([]byte(content))
		if err == nil {
			t.Errorf("%q: taken for %d", content, got)
		}
	}
}

func FuzzParseMicrojoules(f *testing.F) {
	for _, content := range []string{"0\n", "42", "18446744073709551616", "\x00", "1\n\n", ""} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		got, _, err := parseMicrojoules(content)
		digits := strings.TrimSuffix(string(content), "\n")
		want, ok := new(big.Int).SetString(digits, 10)
		valid := ok && want.IsUint64() && strings.Trim(digits, "0123456789") == ""
		if valid != (err == nil) {
			t.Fatalf("%q: %d, %v", content, got, err)
		}
		if valid && want.Uint64() != uint64(got) {
			t.Errorf("%q: %d", content, got)
		}
		if err != nil && (len(err.Error()) > 256 || strings.ContainsFunc(err.Error(), unicode.IsControl)) {
			t.Errorf("the error is neither bounded nor escaped: %q", err)
		}
	})
}
