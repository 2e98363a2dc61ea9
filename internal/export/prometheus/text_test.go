package prometheus

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/scaph/scaph/internal/series"
)

// Numbers, help texts and counters by another name than OpenMetrics wants are written as the library writes them.
func TestAsTheLibraryWrites(t *testing.T) {
	for _, name := range []string{"x_total", "x"} {
		for _, kind := range []series.Kind{series.Gauge, series.Counter} {
			for _, value := range []float64{
				0, math.Copysign(0, -1), 1, -1, 2, 0.5, 1e-7, 123456, 1234567, 1e21, 1 << 53, math.MaxFloat64, -math.SmallestNonzeroFloat64,
				math.NaN(), math.Inf(1), math.Inf(-1),
			} {
				m := &series.Metric{Name: name, Kind: kind, Labels: []string{"a"}, Help: "one \"two\" \\ three\nfour"}
				library := &dto.MetricFamily{Name: &m.Name, Help: &m.Help, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{
					Label: []*dto.LabelPair{{Name: &m.Labels[0], Value: ptr("\"\\\n")}}, Gauge: &dto.Gauge{Value: &value},
				}}}
				if kind == series.Counter {
					library.Type, library.Metric[0].Counter, library.Metric[0].Gauge = dto.MetricType_COUNTER.Enum(), &dto.Counter{Value: &value}, nil
				}
				for _, open := range []bool{false, true} {
					f := text{open}
					e := &entry{metric: m, labels: "\"\\\n\xff"}
					f.fix(e)
					got := f.sample(f.begin(nil, m), e, value)
					var want bytes.Buffer
					write := expfmt.MetricFamilyToText
					if open {
						write = func(w io.Writer, f *dto.MetricFamily) (int, error) {
							return expfmt.MetricFamilyToOpenMetrics(w, f)
						}
					}
					if _, err := write(&want, library); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, want.Bytes()) {
						t.Errorf("got\n%s\nwant\n%s", got, want.Bytes())
					}
				}
			}
		}
	}
}

func ptr(s string) *string { return &s }

// Numbers are written as strconv writes them, those of few digits as well as others.
func TestNumbers(t *testing.T) {
	check := func(value float64) {
		t.Helper()
		want := strconv.FormatFloat(value+0, 'g', -1, 64)
		if got := string(appendNumber([]byte("x"), value)); got != "x"+want {
			t.Errorf("%v: %s, want %s", value, got, want)
		}
	}
	for digits := range 17 {
		for _, first := range []uint64{1, 5, 9} {
			n := first * uint64(math.Pow10(digits))
			for _, n := range []uint64{n - 1, n, n + 1, n + 10, n + n/10, n + n/3} {
				value := float64(n) / 1e6
				for _, value := range []float64{value, -value, math.Nextafter(value, 0), math.Nextafter(value, math.Inf(1)), float64(n), 1 / value} {
					check(value)
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		check(float64(random.Uint64()>>random.UintN(64)) / 1e6)
		check(float64(random.Uint64()>>random.UintN(64)) / 1e9)
		check(math.Float64frombits(random.Uint64()))
	}
}
