//go:build lab

package lab

import (
	"cmp"
	"fmt"
	"html"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

const libvirtURI = "qemu:///system"

// useLibvirtd sees to a libvirtd that answers: the one that runs, or one of the lab's own, which
// is ended with the test.
func useLibvirtd(t *testing.T) *libvirtd {
	t.Helper()
	l := &libvirtd{}
	if libvirtAnswers() {
		t.Log("libvirtd: the one that runs already")
	} else {
		start(t, "virtlogd", "/usr/sbin/virtlogd")
		l.start(t)
		t.Cleanup(func() { l.stop(t) })
	}
	sweep(t)
	return l
}

// A libvirtd is the lab's own; without a daemon, that of the machine.
type libvirtd struct{ *daemon }

// start starts it, for the first time or again.
func (l *libvirtd) start(t *testing.T) {
	t.Helper()
	l.daemon = launch(t, "libvirtd", exec.Command("/usr/sbin/libvirtd"))
	wait.Until(t, "libvirtd answers", 30*time.Second, func() bool {
		code, _, _ := virsh(t, "version")
		return code == 0
	})
}

func libvirtAnswers() bool {
	conn, err := net.DialTimeout("unix", "/run/libvirt/libvirt-sock", time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func virsh(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return command(t, "virsh", append([]string{"-c", libvirtURI, "-q"}, args...)...)
}

func mustVirsh(t *testing.T, args ...string) {
	t.Helper()
	if code, _, stderr := virsh(t, args...); code != 0 {
		t.Fatalf("virsh %s: %s", strings.Join(args, " "), stderr)
	}
}

// domainName marks a domain as this run's: lab-<pid of the run>-<name>.
func domainName(name string) string { return fmt.Sprintf("lab-%d-%s", os.Getpid(), name) }

// sweep removes the domains of runs that were killed before they could clean up.
func sweep(t *testing.T) {
	t.Helper()
	_, list, _ := virsh(t, "list", "--all", "--name")
	for name := range strings.Lines(list) {
		name = strings.TrimSuffix(name, "\n")
		m := regexp.MustCompile(`^[ .]*lab-(\d+)-`).FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			t.Logf("removing %s, left behind by a run that is gone", name)
			removeDomain(t, name)
		}
	}
}

// removeDomain ends and forgets a domain, by its name or UUID; harmless where there is none.
func removeDomain(t *testing.T, name string) {
	t.Helper()
	_, _, _ = virsh(t, "destroy", name) // fails where it does not run
	if code, _, stderr := virsh(t, "undefine", name); code != 0 && !strings.Contains(stderr, "failed to get domain") {
		t.Errorf("undefine %s: %s", name, stderr)
	}
}

// A domain is what the lab asks of libvirt.
type domain struct {
	name   string // of libvirt, by domainName
	uuid   string
	share  string // virtiofs, 9p or none
	mounts string // what the guest is to mount at boot, where that is not the share
	shared bool   // its memory is shared, whatever the share
	source string // the directory that is shared
	cache  string // of virtiofs: none, or "" for virtiofsd's default (auto)
	boots  bool   // a kernel, or the firmware alone
	// Ports on the host's loopback that lead to the guest's probe and its scaph-guest.
	probePort, metricsPort int
}

func (d domain) xml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"+
		"<name>%s</name><uuid>%s</uuid><vcpu>1</vcpu>\n", html.EscapeString(d.name), d.uuid)
	b.WriteString("<os><type arch='x86_64' machine='pc'>hvm</type>")
	if d.boots {
		fmt.Fprintf(&b, "<kernel>%s</kernel><initrd>%s</initrd>"+
			"<cmdline>console=ttyS0 quiet panic=-1 lab.share=%s</cmdline>", built.kernel, built.initrd, cmp.Or(d.mounts, d.share))
	}
	b.WriteString("</os>\n<features><acpi/></features>\n")
	memory := 16
	if d.boots {
		memory = 256
	}
	fmt.Fprintf(&b, "<memory unit='MiB'>%d</memory>\n", memory)
	if d.share == "virtiofs" || d.shared {
		b.WriteString("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>\n")
	}
	b.WriteString("<devices><controller type='usb' model='none'/><memballoon model='none'/>\n" + d.filesystem())
	if d.boots {
		fmt.Fprintf(&b, "<serial type='file'><source path='%s'/></serial>\n", filepath.Join(built.logs, d.name+".serial"))
	}
	b.WriteString("</devices>\n")
	if d.boots {
		// Through the command line, because libvirt's own user network cannot forward ports.
		fmt.Fprintf(&b, "<qemu:commandline>\n"+
			"<qemu:arg value='-netdev'/><qemu:arg value='user,id=lab0,restrict=on"+
			",hostfwd=tcp:127.0.0.1:%d-10.0.2.15:9000,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:8080'/>\n"+
			"<qemu:arg value='-device'/><qemu:arg value='virtio-net-pci,netdev=lab0,bus=pci.0,addr=0x10'/>\n"+
			"</qemu:commandline>\n", d.probePort, d.metricsPort)
	}
	b.WriteString("</domain>\n")
	return b.String()
}

func (d domain) filesystem() string {
	var driver string
	switch d.share {
	case "virtiofs":
		driver = "<filesystem type='mount'><driver type='virtiofs'/>"
		if d.cache != "" {
			driver += fmt.Sprintf("<binary><cache mode='%s'/></binary>", d.cache)
		}
	case "9p":
		driver = "<filesystem type='mount' accessmode='passthrough'><readonly/>"
	default:
		return ""
	}
	return driver + fmt.Sprintf("<source dir='%s'/><target dir='scaphandre'/></filesystem>\n", d.source)
}

// define makes the domain known to libvirt until the test ends.
func (d domain) define(t *testing.T) {
	t.Helper()
	if code, stderr := d.tryDefine(t); code != 0 {
		t.Fatalf("virsh define: %s", stderr)
	}
	t.Cleanup(func() { removeDomain(t, d.uuid) })
}

// tryDefine leaves it to its caller to judge what libvirt says, and to remove the domain.
func (d domain) tryDefine(t *testing.T) (code int, stderr string) {
	t.Helper()
	path := filepath.Join(built.logs, d.uuid+".xml")
	if err := os.WriteFile(path, []byte(d.xml()), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr = virsh(t, "define", path)
	return code, stderr
}

func (d domain) start(t *testing.T) { t.Helper(); mustVirsh(t, "start", d.name) }

// pid gives the process id of the domain's qemu.
func (d domain) pid(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/run/libvirt/qemu", d.name+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// freePort gives a TCP port of the loopback that nobody listens on at the moment.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return int(address.Port())
}
