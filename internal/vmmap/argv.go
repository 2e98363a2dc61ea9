package vmmap

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/scaph/scaph/internal/proc"
)

// maxName is the longest name that is kept, in bytes: libvirt names a file after each domain, so
// its own cannot be longer (NAME_MAX).
const maxName = 255

// maxVCPUs bounds what is believed of -smp; qemu's largest machine types stop at 4096.
const maxVCPUs = 65536

// namespace makes version 5 UUIDs (RFC 9562, 5.5) for machines that have none. Any fixed value serves;
// it must never change, or their meters would start anew.
var namespace = uuid.MustParse("5ca9a4d0-7e0b-4f6a-9f43-2d1c8e6b0a51")

// An identity is what a qemu's command line says of the virtual machine that it runs.
type identity struct {
	uuid  string // canonical, "" if none is given
	id    string // Proxmox's -id
	name  string
	vcpus int // 0 if it cannot be told
}

// A configReader returns the text of a file that -readconfig names. The path is the qemu's,
// absolute or not.
type configReader func(path string) ([]byte, error)

// parseCmdline reads /proc/PID/cmdline of a qemu. What may have been said after a cut, such as the
// number of CPUs, is unknown; without its UUID a cut one says nothing, since that may have stood there.
func parseCmdline(cmdline []byte, config configReader) identity {
	argv, whole := proc.SplitCmdline(cmdline)
	id := parseArgv(argv, config)
	if !whole {
		if id.uuid == "" {
			return identity{}
		}
		id.vcpus = 0
	}
	id.id, id.name = strings.Clone(id.id), strings.Clone(id.name) // or they would keep all of it in memory
	return id
}

// parseArgv follows qemu's own rules: an option starts with one dash or two, its value is the next
// argument and never follows an equals sign; what is said last holds. The value of -append, the guest
// kernel's command line, is free text and may look like an option.
func parseArgv(argv []string, config configReader) identity {
	o := options{smp: map[string]string{}}
	for i := 1; i+1 < len(argv); i++ {
		option, dash := strings.CutPrefix(argv[i], "-")
		if !dash {
			continue
		}
		option = strings.TrimPrefix(option, "-")
		value := argv[i+1]
		switch option {
		case "name":
			o.group("name", parseOptions(value, "guest"))
		case "uuid":
			o.uuid = canonicalUUID(value)
		case "id":
			o.id = value
		case "smp":
			o.group("smp-opts", parseOptions(value, "cpus"))
		case "machine", "M":
			o.group("machine", parseOptions(value, "type"))
		case "smbios":
			o.group("smbios", parseOptions(value, ""))
		case "readconfig":
			o.config(value, config)
		case "append":
		default:
			continue
		}
		i++
	}
	return o.result()
}

// options are what the options seen so far say.
type options struct {
	identity
	smbios  string            // UUID of the SMBIOS table, canonical
	smp     map[string]string // of -smp and the machine's smp.*, which are the same
	machine string            // its type, "" for qemu's default
}

// group takes over one group of settings, by the name that it has in a file of -readconfig.
func (o *options) group(name string, settings map[string]string) {
	switch name {
	case "name":
		if guest, ok := settings["guest"]; ok {
			o.name = guest
		}
	case "smp-opts":
		maps.Copy(o.smp, settings)
	case "machine":
		if machine, ok := settings["type"]; ok {
			o.machine = machine
		}
		for key, value := range settings {
			if key, ok := strings.CutPrefix(key, "smp."); ok {
				o.smp[key] = value
			}
		}
	case "smbios":
		if settings["type"] == "1" && settings["uuid"] != "" {
			o.smbios = canonicalUUID(settings["uuid"])
		}
	}
}

// config takes over a file of -readconfig. One that cannot be read leaves the CPUs unknown, unless
// they are said later.
func (o *options) config(path string, read configReader) {
	text, err := read(path)
	if err != nil {
		o.smp = map[string]string{"cpus": "unknown"}
		return
	}
	parseConfig(text, o.group)
}

// result concludes what machine it is.
func (o *options) result() identity {
	id := o.identity
	if id.uuid == "" {
		id.uuid = o.smbios
	}
	if len(o.smp) > 0 || startsWithOne(o.machine) {
		id.vcpus = vcpus(o.smp)
	}
	return id
}

// startsWithOne reports whether a type of machine has one CPU where nothing is said. Some boards
// have more.
func startsWithOne(machine string) bool {
	return machine == "" || slices.ContainsFunc([]string{"pc", "q35", "isapc", "microvm", "virt", "pseries", "s390-ccw-virtio"},
		func(family string) bool { return machine == family || strings.HasPrefix(machine, family+"-") })
}

// parseOptions takes a qemu option value apart: key=value pairs between commas, where a doubled comma
// stands for itself in a value. A first one without a key is the value of implied, where that is not "".
func parseOptions(text, implied string) map[string]string {
	options := map[string]string{}
	for first := true; text != ""; first = false {
		var key, value string
		end := strings.IndexAny(text, "=,")
		switch {
		case end >= 0 && text[end] == '=':
			key = text[:end]
			value, text = optionValue(text[end+1:])
		case first && implied != "":
			key = implied
			value, text = optionValue(text)
		default: // a flag
			key, text, _ = strings.Cut(text, ",")
			value = "on"
		}
		options[key] = value
	}
	return options
}

// optionValue reads up to the next single comma, and gives what follows it.
func optionValue(text string) (value, rest string) {
	var b strings.Builder
	for {
		end := strings.IndexByte(text, ',')
		if end < 0 {
			b.WriteString(text)
			return b.String(), ""
		}
		b.WriteString(text[:end])
		text = text[end+1:]
		if !strings.HasPrefix(text, ",") {
			return b.String(), text
		}
		b.WriteByte(',')
		text = text[1:]
	}
}

// vcpus computes the CPUs that are on at start as qemu does: cpus, else maxcpus, else the product of the
// topology; 0 if something there is no sensible number.
func vcpus(smp map[string]string) int {
	product := 1
	for _, key := range []string{"drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads"} {
		n, given, ok := cpuCount(smp, key)
		if !ok {
			return 0
		}
		if given {
			product = min(product*n, maxVCPUs)
		}
	}
	for _, key := range []string{"cpus", "maxcpus"} {
		if n, given, ok := cpuCount(smp, key); given || !ok {
			return n
		}
	}
	return product
}

// cpuCount reads one number of -smp. For qemu 0 is the same as not given.
func cpuCount(smp map[string]string, key string) (n int, given, ok bool) {
	text, given := smp[key]
	if !given {
		return 0, false, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxVCPUs {
		return 0, true, false
	}
	return n, n > 0, true
}

// canonicalUUID gives a UUID written as 8-4-4-4-12 digits in lower case, and "" for anything else and for
// the null UUID, which is what a machine without one has.
func canonicalUUID(text string) string {
	if len(text) != 36 {
		return ""
	}
	u, err := uuid.Parse(text)
	if err != nil || u == uuid.Nil {
		return ""
	}
	return u.String()
}

// derivedUUID makes a stable UUID of a machine that was started without one, from Proxmox's id or
// from the name, and "" if there is neither: then it is no machine that anybody could ask for, such as the
// qemu that libvirt starts for a moment to learn what it can do. The user is part of it, so that nobody gets
// into another user's meter by using his machine's name.
func derivedUUID(id identity, uid uint32) string {
	var key string
	switch {
	case id.id != "":
		key = "id/" + id.id
	case id.name != "":
		key = "name/" + id.name
	default:
		return ""
	}
	return uuid.NewSHA1(namespace, []byte(strconv.FormatUint(uint64(uid), 10)+"/"+key)).String()
}

// label cuts a name to what can be a name of libvirt's. It is for people; identity is the UUID.
func label(name string) string {
	if len(name) > maxName {
		return name[:maxName]
	}
	return name
}
