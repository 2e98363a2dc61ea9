package judge

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A series is one line of a scrape.
type series struct {
	key    string // name and labels as they stand there
	name   string
	labels map[string]string
	value  float64
}

// microjoules gives a value in J as whole µJ; a float64 holds them exactly up to 9 GJ.
func (s series) microjoules() int64 { return int64(math.Round(s.value * 1e6)) }

// parseText reads the text exposition format, as far as it is needed: no escapes but those of label
// values, no timestamps.
func parseText(text string) ([]series, error) {
	var all []series
	for n, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n+1, line, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseLine(line string) (series, error) {
	space := strings.LastIndexByte(line, ' ')
	if space < 0 {
		return series{}, fmt.Errorf("no value")
	}
	value, err := strconv.ParseFloat(line[space+1:], 64)
	if err != nil {
		return series{}, err
	}
	s := series{key: line[:space], value: value, labels: map[string]string{}}
	name, rest, _ := strings.Cut(s.key, "{")
	s.name = name
	for rest = strings.TrimSuffix(rest, "}"); rest != ""; rest = strings.TrimPrefix(rest, ",") {
		label, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return series{}, fmt.Errorf("no label value in %q", rest)
		}
		var text string
		if text, rest, err = labelValue(after); err != nil {
			return series{}, err
		}
		s.labels[label] = text
	}
	return s, nil
}

// labelValue reads up to the closing quote and gives what follows it.
func labelValue(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("label value without an end: %q", text)
}
