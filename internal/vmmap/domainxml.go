package vmmap

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// A Domain is what libvirt says of a virtual machine. It does not say which process it is.
type Domain struct {
	ID      int    // libvirt's number of the running domain, 0 where it does not run
	UUID    string // any case
	Name    string
	Title   string
	VCPUs   int // online
	State   State
	Project string
	User    string
	Flavor  string
	Share   string
	Publish string
}

// ErrTransient is that a domain runs without a definition: nothing of it is left when it stops.
var ErrTransient = errors.New("libvirt keeps no definition of it (a transient domain)")

// ShareTag is the <target dir> under which a machine finds its meter; scaphandre chose it.
const ShareTag = "scaphandre"

// ourNamespace is that of our element in a domain's <metadata>:
//
//	<scaph:publish xmlns:scaph='urn:scaph:1' profile='untrusted'/>
const ourNamespace = "urn:scaph:1"

// novaNamespace is how the namespaces of OpenStack's metadata begin; a version follows.
const novaNamespace = "http://openstack.org/xmlns/libvirt/nova/"

// domainXML is the part that we need of libvirt's domain format,
// https://libvirt.org/formatdomain.html.
type domainXML struct {
	ID    int    `xml:"id,attr"`
	UUID  string `xml:"uuid"`
	Name  string `xml:"name"`
	Title string `xml:"title"`
	VCPU  struct {
		Current int `xml:"current,attr"` // online; absent where all are
		Maximum int `xml:",chardata"`
	} `xml:"vcpu"`
	Metadata struct {
		Instances []struct {
			XMLName xml.Name
			Flavor  struct {
				Name string `xml:"name,attr"`
			} `xml:"flavor"`
			User    ownerXML `xml:"owner>user"`
			Project ownerXML `xml:"owner>project"`
		} `xml:"instance"`
		Elements []struct { // of anybody else
			XMLName xml.Name
			Profile string `xml:"profile,attr"`
		} `xml:",any"`
	} `xml:"metadata"`
	Filesystems []struct {
		Driver struct {
			Type string `xml:"type,attr"` // absent: 9p
		} `xml:"driver"`
		Target struct {
			Dir string `xml:"dir,attr"`
		} `xml:"target"`
	} `xml:"devices>filesystem"`
}

// ownerXML is a user or a project of OpenStack's.
type ownerXML struct {
	UUID string `xml:"uuid,attr"`
	Name string `xml:",chardata"`
}

func (o ownerXML) String() string {
	if name := strings.TrimSpace(o.Name); name != "" {
		return name
	}
	return o.UUID
}

func (x *domainXML) domain() (Domain, error) {
	uuid := canonicalUUID(strings.TrimSpace(strings.ToLower(x.UUID)))
	if uuid == "" {
		return Domain{}, fmt.Errorf("domain %q has no valid UUID: %q", x.Name, x.UUID)
	}
	if x.Name == "" {
		return Domain{}, fmt.Errorf("domain %s has no name", uuid)
	}
	d := Domain{ID: max(x.ID, 0), UUID: uuid, Name: x.Name, Title: x.Title, VCPUs: x.VCPU.Current}
	if d.VCPUs <= 0 {
		d.VCPUs = x.VCPU.Maximum
	}
	if d.VCPUs < 0 || d.VCPUs > maxVCPUs {
		d.VCPUs = 0
	}
	for _, instance := range x.Metadata.Instances {
		if strings.HasPrefix(instance.XMLName.Space, novaNamespace) {
			d.Flavor = instance.Flavor.Name
			d.User, d.Project = instance.User.String(), instance.Project.String()
			break
		}
	}
	for _, e := range x.Metadata.Elements {
		if e.XMLName.Space != ourNamespace {
			continue
		}
		// It was to restrict something. What is not understood is no profile, and is judged and reported as such.
		if d.Publish = e.Profile; e.XMLName.Local != "publish" || e.Profile == "" {
			d.Publish = "<" + e.XMLName.Local + ">"
		}
	}
	for _, f := range x.Filesystems {
		if f.Target.Dir == ShareTag {
			d.Share = "9p"
			if f.Driver.Type == "virtiofs" {
				d.Share = "virtiofs"
			}
		}
	}
	return d, nil
}

// ParseDomain reads a <domain> document as libvirt's API gives it. The state is not in it; a domain
// with an id is taken to be running.
func ParseDomain(document []byte) (Domain, error) {
	var x domainXML
	if err := xml.Unmarshal(document, &x); err != nil {
		return Domain{}, fmt.Errorf("libvirt domain document: %w", err)
	}
	d, err := x.domain()
	if err != nil {
		return Domain{}, err
	}
	d.State = Shutoff
	if d.ID > 0 {
		d.State = Running
	}
	return d, nil
}

// parseStatus reads a <domstatus> document, the live state that libvirt keeps of a running
// domain in /run/libvirt/qemu/NAME.xml.
func parseStatus(document []byte) (d Domain, pid int32, err error) {
	var x struct {
		XMLName xml.Name  `xml:"domstatus"`
		State   string    `xml:"state,attr"`
		PID     int32     `xml:"pid,attr"`
		Domain  domainXML `xml:"domain"`
	}
	if err := xml.Unmarshal(document, &x); err != nil {
		return Domain{}, 0, fmt.Errorf("libvirt status document: %w", err)
	}
	if d, err = x.Domain.domain(); err != nil {
		return Domain{}, 0, err
	}
	if x.PID <= 0 {
		return Domain{}, 0, fmt.Errorf("status of domain %q names no process: pid=%d", d.Name, x.PID)
	}
	switch x.State {
	case "paused", "pmsuspended", "crashed":
		d.State = Paused
	case "shutoff":
		d.State = Shutoff
	default: // running, and the moments of starting and stopping
		d.State = Running
	}
	return d, x.PID, nil
}
