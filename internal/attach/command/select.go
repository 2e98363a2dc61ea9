package command

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/scaph/scaph/internal/vmmap"
)

// Select returns the domains that the arguments mean, ordered by name: each is a name, a UUID, or a pattern of names as
// the shell has them. An argument that means none is an error, and then nothing is selected.
func Select(domains []vmmap.Domain, arguments []string, all bool) ([]vmmap.Domain, error) {
	domains = slices.Clone(domains)
	slices.SortFunc(domains, func(a, b vmmap.Domain) int { return cmp.Compare(a.Name, b.Name) })
	if all {
		return domains, nil
	}
	meant := make([]bool, len(domains))
	var errs []error
	for _, argument := range arguments {
		found, err := match(domains, argument)
		if err == nil && len(found) == 0 {
			err = unknown(domains, argument)
		}
		errs = append(errs, err)
		for _, i := range found {
			meant[i] = true
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var selected []vmmap.Domain
	for i, d := range domains {
		if meant[i] {
			selected = append(selected, d)
		}
	}
	return selected, nil
}

// match returns which domains an argument means. A name may look like a pattern or a UUID: as a name it comes first.
func match(domains []vmmap.Domain, argument string) (found []int, err error) {
	for _, meant := range []func(vmmap.Domain) bool{
		func(d vmmap.Domain) bool { return d.Name == argument },
		func(d vmmap.Domain) bool { return strings.EqualFold(d.UUID, argument) },
		func(d vmmap.Domain) bool {
			var ok bool
			ok, err = path.Match(argument, d.Name)
			return ok && strings.ContainsAny(argument, `*?[\`)
		},
	} {
		for i, d := range domains {
			if meant(d) {
				found = append(found, i)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: no VM has this name, and as a pattern it has a mistake: %w", printable(argument), err)
	}
	return nil, nil
}

const nearby = 3 // names at most that an error offers

func unknown(domains []vmmap.Domain, argument string) error {
	if strings.ContainsAny(argument, "*?[") {
		return fmt.Errorf("%s: no VM has such a name", printable(argument))
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, d := range domains {
		c := candidate{d.Name, distance(strings.ToLower(argument), strings.ToLower(d.Name))}
		if c.distance <= mistakes(argument) || strings.Contains(strings.ToLower(d.Name), strings.ToLower(argument)) {
			near = append(near, c)
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range near[:min(len(near), nearby)] {
		names = append(names, printable(c.name))
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: libvirt has no VM of this name or UUID: see `scaph-host vms`", printable(argument))
	}
	return fmt.Errorf("%s: libvirt has no VM of this name or UUID: did you mean %s?", printable(argument), strings.Join(names, " or "))
}

// mistakes is how many a word may have and still be known: two letters that have changed places are two.
func mistakes(word string) int {
	if len(word) < 4 {
		return 1
	}
	return max(2, len(word)/3)
}

// distance is the number of bytes to insert, delete or replace (Levenshtein). Arguments are the operator's own, names bounded
// by libvirt.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// printable is a name as a terminal may show it.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Trim(name, " ") != name || name == "" {
		return strconv.Quote(name)
	}
	return name
}

// handle is what names a VM on a command line of virsh: its name if the shell leaves that alone, else its UUID.
func handle(d vmmap.Domain) string {
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+:@", r)
	}
	if strings.HasPrefix(d.Name, "-") || strings.ContainsFunc(d.Name, odd) {
		return d.UUID
	}
	return d.Name
}
