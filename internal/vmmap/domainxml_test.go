package vmmap

import (
	"os"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	document, err := os.ReadFile("testdata/domstatus.xml") // as libvirt 9.0 wrote it
	if err != nil {
		t.Fatal(err)
	}
	d, pid, err := parseStatus(document)
	want := Domain{ID: 1, UUID: uuidA, Name: "web", Title: "A title", VCPUs: 1, State: Running,
		Project: "proj", User: "alice", Flavor: "m1.small", Share: "virtiofs"}
	if err != nil || pid != 13648 || d != want {
		t.Errorf("got %+v, pid %d, %v", d, pid, err)
	}
	for state, want := range map[string]State{"paused": Paused, "shutdown": Running, "shutoff": Shutoff, "crashed": Paused} {
		d, _, err := parseStatus([]byte(strings.Replace(string(document), "state='running'", "state='"+state+"'", 1)))
		if err != nil || d.State != want {
			t.Errorf("state %s: %v, %v", state, d.State, err)
		}
	}
}

func TestParseDomain(t *testing.T) {
	const running = `<domain type='kvm' id='7'><name>a&amp;b</name><uuid>03DEAE90-1B70-403F-B41C-991F9D83D8C0</uuid><vcpu placement='static'> 4 </vcpu>
		<metadata><other:instance xmlns:other="urn:x"><other:flavor name="no"/></other:instance>
		<other:publish xmlns:other="urn:x" profile="off"/><scaph:publish xmlns:scaph="urn:scaph:1" profile="untrusted"/></metadata>
		<devices><filesystem><target dir="home"/></filesystem>
		<filesystem><driver type="virtiofs"/><target dir="scaphandre"/></filesystem></devices></domain>`
	d, err := ParseDomain([]byte(running))
	if want := (Domain{ID: 7, UUID: uuidA, Name: "a&b", VCPUs: 4, State: Running, Share: "virtiofs", Publish: "untrusted"}); err != nil || d != want {
		t.Errorf("got %+v, %v", d, err)
	}
	for title, document := range map[string]string{
		"empty":     "",
		"no UUID":   "<domain><name>a</name></domain>",
		"no name":   "<domain><uuid>" + uuidA + "</uuid></domain>",
		"cut":       running[:len(running)/2],
		"entity":    `<!DOCTYPE d [<!ENTITY a "aaaa">]><domain><name>&a;</name><uuid>` + uuidA + `</uuid></domain>`,
		"not UTF-8": "<domain><name>\xff</name><uuid>" + uuidA + "</uuid></domain>",
	} {
		if d, err := ParseDomain([]byte(document)); err == nil {
			t.Errorf("%s: accepted as %+v", title, d)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	document, err := os.ReadFile("testdata/domstatus.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document)
	f.Add([]byte(`<domstatus state='running' pid='1'><domain id='1'><name>a</name><uuid>` + uuidA + `</uuid></domain></domstatus>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		d, pid, err := parseStatus(document)
		if err == nil && (pid <= 0 || d.Name == "" || canonicalUUID(d.UUID) != d.UUID || d.VCPUs < 0 || d.ID < 0) {
			t.Errorf("accepted: pid %d, %+v", pid, d)
		}
	})
}

// TestPublishThatIsNotUnderstood never passes for a domain that asks for nothing: it was to restrict something.
func TestPublishThatIsNotUnderstood(t *testing.T) {
	for element, want := range map[string]string{
		``: "",
		`<s:publish xmlns:s="urn:scaph:1" profile="untrustd"/>`: "untrustd",
		`<s:publish xmlns:s="urn:scaph:1" Profile="off"/>`:      "<publish>",
		`<s:publish xmlns:s="urn:scaph:1">off</s:publish>`:      "<publish>",
		`<s:pubish xmlns:s="urn:scaph:1" profile="untrusted"/>`: "<pubish>",
		`<publish xmlns="urn:scaph:1" profile="off"/>`:          "off",
		`<s:publish xmlns:s="urn:somebody:1" profile="off"/>`:   "",
	} {
		d, err := ParseDomain([]byte("<domain><uuid>" + uuidA + "</uuid><name>a</name><metadata>" + element + "</metadata></domain>"))
		if err != nil || d.Publish != want {
			t.Errorf("%s asks for %q, %v; want %q", element, d.Publish, err, want)
		}
	}
}
