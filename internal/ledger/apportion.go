package ledger

import "math/bits"

// one is a whole µJ in the fixed-point unit of a carry (2^-32 µJ).
const one = 1 << 32

// A share is one consumer's part in one apportionment.
type share struct {
	slot   Slot
	weight uint64
	amount uint64 // result: µJ
	carry  int64  // 2^-32 µJ that the consumer is owed (or was paid in advance) by earlier rounding
	key    int64  // carry and this round's fraction: who is owed most gets the next whole µJ
}

// apportion splits amount over the shares in proportion to their weights, in whole µJ that sum to
// amount exactly. Everybody gets the whole part of his exact share, and those who are owed most after
// this and all earlier rounds get one µJ more, so what rounding costs anybody stays about a µJ
// however many rounds there are. (The method of largest remainders, with the remainders kept.)
//
// The shares' order is not kept. total is the sum of the weights and must not be 0.
func apportion(amount, total uint64, shares []share) {
	left := amount
	for i := range shares {
		s := &shares[i]
		hi, lo := bits.Mul64(amount, s.weight)
		whole, rem := bits.Div64(hi, lo, total)
		frac, _ := bits.Div64(rem>>32, rem<<32, total) // rem < total, so the quotient is below 2^32
		s.amount = whole
		s.key = s.carry + int64(frac)
		left -= whole
	}
	selectOwed(shares, int(left))
	for i := range shares {
		s := &shares[i]
		s.carry = s.key
		if uint64(i) < left {
			s.amount++
			s.carry -= one
		}
	}
}

// before says that s is owed a whole µJ sooner than other: no two shares are owed it alike.
func (s *share) before(other *share) bool {
	return s.key > other.key || s.key == other.key && s.slot < other.slot
}

// selectOwed moves the n shares that are owed most to the front, in no order (Hoare's quickselect): as
// there are many of them at each settlement, they are not sorted.
func selectOwed(shares []share, n int) {
	for n > 0 && n < len(shares) {
		pivot := medianOf(shares[0], shares[len(shares)/2], shares[len(shares)-1])
		i, j := 0, len(shares)-1
		for i <= j {
			for shares[i].before(&pivot) {
				i++
			}
			for pivot.before(&shares[j]) {
				j--
			}
			if i <= j {
				shares[i], shares[j] = shares[j], shares[i]
				i++
				j--
			}
		}
		// What is before i is owed no less than what is after j; one share at most lies between them.
		switch {
		case n <= j:
			shares = shares[:j+1]
		case n >= i:
			shares, n = shares[i:], n-i
		default:
			return
		}
	}
}

func medianOf(a, b, c share) share {
	if b.before(&a) {
		a, b = b, a
	}
	if c.before(&b) {
		b = c
		if b.before(&a) {
			b = a
		}
	}
	return b
}
