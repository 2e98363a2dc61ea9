package energy

import (
	"iter"
	"math/bits"
	"strings"
)

// A KindSet is a set of kinds of zone. The zero value is empty.
type KindSet uint8

// The sets of kinds that can count: their zones, summed, are the host's energy, and none of them
// contains another.
const (
	PackageBasis KindSet = 1<<Package | 1<<DRAM
	PsysBasis    KindSet = 1 << Psys
)

// Basis returns the kinds that count: the platform, or the packages with what stands beside them.
func Basis(psys bool) KindSet {
	if psys {
		return PsysBasis
	}
	return PackageBasis
}

// KindsOf returns the set of the given kinds.
func KindsOf(kinds ...Kind) (s KindSet) {
	for _, k := range kinds {
		s = s.With(k)
	}
	return s
}

// Has reports whether a kind is in the set. A kind that nobody is charged for is in none.
func (s KindSet) Has(k Kind) bool { return k < Kinds && s>>k&1 != 0 }

// With returns the set with one kind more.
func (s KindSet) With(k Kind) KindSet {
	if k >= Kinds {
		return s
	}
	return s | 1<<k
}

// Union returns what is in either set.
func (s KindSet) Union(other KindSet) KindSet { return s | other }

// Intersect returns what is in both sets.
func (s KindSet) Intersect(other KindSet) KindSet { return s & other }

// Without returns what is not in the other set.
func (s KindSet) Without(other KindSet) KindSet { return s &^ other }

// Len returns how many kinds are in the set.
func (s KindSet) Len() int { return bits.OnesCount8(uint8(s)) }

// All iterates over the kinds in the set, in their order.
func (s KindSet) All() iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		for rest := s; rest != 0; rest &= rest - 1 {
			if !yield(Kind(bits.TrailingZeros8(uint8(rest)))) {
				return
			}
		}
	}
}

// String lists the kinds, for logs: "package,dram".
func (s KindSet) String() string {
	names := make([]string, 0, Kinds)
	for k := range s.All() {
		names = append(names, k.String())
	}
	return strings.Join(names, ",")
}
