package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const events = `{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"quiet\n"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestSlow","Output":"quiet\n"}
{"Action":"pass","Package":"a","Test":"TestSlow","Elapsed":7}
{"Action":"output","Package":"a","Test":"TestBad","Output":"what is wrong\n"}
{"Action":"fail","Package":"a","Test":"TestBad"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"=== RUN   TestNot\n"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"    x_test.go:7: needs this\n"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"        needs that\n"}
{"Action":"output","Package":"a","Test":"TestNot","Output":"--- SKIP: TestNot (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestNot"}
{"Action":"output","Package":"a","Test":"TestToo","Output":"    x_test.go:9: needs this\n"}
{"Action":"output","Package":"a","Test":"TestToo","Output":"        needs that\n"}
{"Action":"skip","Package":"a","Test":"TestToo"}
{"Action":"skip","Package":"b","Test":"TestMute"}
{"Action":"output","Package":"a","Output":"FAIL a\n"}
{"Action":"fail","Package":"a"}
not an event
{"ImportPath":"b","Action":"build-output","Output":"b.go:1: no\n"}
{"Action":"fail","Package":"b","FailedBuild":"b"}
{"Action":"output","Package":"c","Test":"TestCut","Output":"so far\n"}
{"Action":"fail","Package":"c"}`
	var out bytes.Buffer
	tally := tally{out: &out}
	tally.read(strings.NewReader(events))
	tally.summary()
	if tally.passed != 2 || tally.failed != 3 || tally.skipped != 3 {
		t.Errorf("%d passed, %d failed, %d skipped", tally.passed, tally.failed, tally.skipped)
	}
	for _, want := range []string{"--- PASS: TestSlow", "what is wrong", "FAIL a", "not an event", "b.go:1: no", "***   2 in a: needs this; needs that\n***   1 in b: no reason\n", "TestCut of c did not end:\nso far"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not printed", want)
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Error("what good tests say is printed")
	}
}

func TestSplit(t *testing.T) {
	got := split([]string{"-race", "./...", "--", "-tags", "lab"})
	if want := [][]string{{"-race", "./..."}, {"-tags", "lab"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
