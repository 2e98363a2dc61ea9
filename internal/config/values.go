package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A Switch turns something on, off, or on where it can work.
type Switch string

// The positions of a Switch.
const (
	Auto Switch = "auto" // on where the machine has what it takes; a failure is told, not fatal
	On   Switch = "true" // on; a failure is fatal
	None Switch = "false"
)

// UnmarshalText accepts auto, true and false.
func (s *Switch) UnmarshalText(text []byte) error {
	switch v := Switch(text); v {
	case Auto, On, None:
		*s = v
		return nil
	default:
		return errors.New("not auto, true or false")
	}
}

// Energy is an amount of energy in µJ. As text it has a unit: 1uJ, 1mJ, 2.5J.
type Energy uint64

// The units.
const (
	Microjoule Energy = 1
	Millijoule        = 1000 * Microjoule
	Joule             = 1000 * Millijoule
)

// String writes the energy in the largest unit that leaves it whole: "1mJ", "1500mJ".
func (e Energy) String() string {
	switch {
	case e != 0 && e%Joule == 0:
		return strconv.FormatUint(uint64(e/Joule), 10) + "J"
	case e != 0 && e%Millijoule == 0:
		return strconv.FormatUint(uint64(e/Millijoule), 10) + "mJ"
	default:
		return strconv.FormatUint(uint64(e), 10) + "uJ"
	}
}

// UnmarshalText reads a decimal number and its unit: uJ (or µJ), mJ or J. The amount must be whole µJ.
func (e *Energy) UnmarshalText(text []byte) error {
	number, unit := string(text), Energy(0)
	for _, u := range []struct {
		suffix string
		unit   Energy
	}{{"uJ", Microjoule}, {"µJ", Microjoule}, {"μJ", Microjoule}, {"mJ", Millijoule}, {"J", Joule}} {
		if n, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(n), u.unit
			break
		}
	}
	if unit == 0 {
		return errors.New("an energy needs a unit: uJ, mJ or J")
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", number)
	}
	v *= float64(unit)
	if !(v >= 0 && v < 1<<53) || v != math.Trunc(v) { // above 2^53 a float64 skips whole numbers
		return errors.New("not a whole number of microjoules")
	}
	*e = Energy(v)
	return nil
}

// convert is the decode hook for every value of the file, the environment and the flags. It is
// stricter than a weakly typed decoder, which takes 1 for a nanosecond and cuts 1.5 to 1; and it
// reads text, since that is all that the environment and flags have.
func convert(from, to reflect.Value) (any, error) {
	raw := from.Interface()
	text, isText := raw.(string)
	switch target := to.Addr().Interface().(type) {
	case *time.Duration:
		if !isText {
			return nil, errors.New("a duration needs a unit, as in 1s")
		}
		return time.ParseDuration(text)
	case *VMPublish:
		if flag, ok := raw.(bool); ok {
			text, isText = boolProfile(flag), true
		}
		if isText {
			return nil, hint("write {profile: " + text + "}")
		}
		return raw, nil
	case *Profile:
		if flag, ok := raw.(bool); ok {
			return nil, hint("write " + boolProfile(flag))
		}
	case encoding.TextUnmarshaler:
		if flag, ok := raw.(bool); ok {
			text, isText = strconv.FormatBool(flag), true
		}
		if !isText {
			return nil, fmt.Errorf("unexpected %T", raw)
		}
		if err := target.UnmarshalText([]byte(text)); err != nil {
			return nil, err
		}
		return reflect.ValueOf(target).Elem().Interface(), nil
	}
	switch to.Kind() {
	case reflect.Slice:
		if isText { // as the environment and flags have a list
			return list(text), nil
		}
	case reflect.Int:
		if isText {
			return strconv.Atoi(text)
		}
		if from.CanFloat() {
			return nil, errors.New("not a whole number")
		}
	case reflect.Float64:
		if isText {
			return strconv.ParseFloat(text, 64)
		}
	case reflect.Bool:
		if text == "true" || text == "false" {
			return text == "true", nil
		}
	case reflect.String:
		if from.CanInt() { // a group's number
			return strconv.FormatInt(from.Int(), 10), nil
		}
	}
	return raw, nil
}

// list takes words apart that stand between commas; there may be none.
func list(text string) []string {
	words := []string{}
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// A hint says what to write instead of a value that cannot be meant.
type hint string

func (h hint) Error() string { return string(h) }

// boolProfile is what was meant by a profile that YAML took for a boolean: "off" is one to many of its writers.
func boolProfile(on bool) string {
	if on {
		return string(Trusted)
	}
	return strconv.Quote(string(Off))
}
