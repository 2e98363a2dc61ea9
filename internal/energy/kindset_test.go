package energy

import (
	"slices"
	"testing"
)

func TestKindSet(t *testing.T) {
	var empty KindSet
	if empty.Len() != 0 || len(slices.Collect(empty.All())) != 0 || empty.String() != "" {
		t.Errorf("the empty set: %d kinds, %q", empty.Len(), empty)
	}
	s := KindsOf(DRAM, Core).With(Package).With(Core)
	if got := slices.Collect(s.All()); !slices.Equal(got, []Kind{Package, Core, DRAM}) || s.Len() != 3 {
		t.Errorf("%v, %d of them", got, s.Len())
	}
	if s.String() != "package,core,dram" {
		t.Errorf("%q", s)
	}
	for k := range Kind(Kinds) {
		if want := k == Package || k == Core || k == DRAM; s.Has(k) != want {
			t.Errorf("has %v: %v", k, !want)
		}
	}
	if got := s.Union(PsysBasis).Without(PackageBasis); got != KindsOf(Core, Psys) {
		t.Errorf("%v", got)
	}
	if got := s.Intersect(PackageBasis.With(Uncore)); got != PackageBasis {
		t.Errorf("%v", got)
	}
	for first := range s.All() { // a loop may end early
		if first != Package {
			t.Errorf("begins with %v", first)
		}
		break
	}
}

// What nobody is charged for is in no set, nor what no zone can be, however it came in: as a state or a file could hold it.
func TestKindSetKnowsOnlyKinds(t *testing.T) {
	for _, k := range []Kind{Platform, Device, 8, 200, 255} {
		if s := KindsOf(k); s != 0 || KindSet(255).Has(k) {
			t.Errorf("kind %d is taken", k)
		}
	}
}

// No kind of a basis contains another, and both say all that the host draws.
func TestBasis(t *testing.T) {
	if Basis(true) != KindsOf(Psys) || Basis(false) != KindsOf(Package, DRAM) {
		t.Errorf("%v, %v", Basis(true), Basis(false))
	}
}

func TestKindNames(t *testing.T) {
	for k, want := range map[Kind]string{Package: "package", Psys: "psys", Platform: "platform", Device: "device"} {
		if k.String() != want || !k.Known() {
			t.Errorf("%d is %q", k, k)
		}
	}
	if k := Device + 1; k.Known() || k.String() != "kind-7" {
		t.Errorf("%v", k)
	}
	if ByCPU.String() != "cpu" || ByNothing.String() != "nothing" {
		t.Errorf("%v, %v", ByCPU, ByNothing)
	}
}
