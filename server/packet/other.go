package packet

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// What a lab teaches is read by this package itself, since gopacket tells no byte
// ranges, gives up on cut packets and panics on hostile ones. The long tail is
// gopacket's: its layers and their values, each with the range of its layer.

// otherBytes is as much of a packet as gopacket gets to see.
const otherBytes = 2048

// other goes on with what gopacket knows, and shows the bytes where it does not.
func (d *walk) other(protocol string, first gopacket.LayerType, s span) {
	if !d.tryOther(protocol, first, s) {
		d.line(protocol, counted(s.size(), "byte"))
		d.payload(s)
	}
}

func (d *walk) tryOther(protocol string, first gopacket.LayerType, s span) bool {
	found := decodeOther(d.of(s.take(otherBytes)), first)
	if len(found) == 0 || found[0].LayerType() == gopacket.LayerTypeDecodeFailure {
		return false
	}
	d.line(protocol)
	for i, l := range found {
		at, size := s.off, min(len(l.LayerContents()), s.end-s.off)
		inner := s.from(size)
		switch l.LayerType() {
		case layers.LayerTypeIPv4, layers.LayerTypeIPv6: // in MPLS or PPPoE: back to what we know better
			d.around = append(append(d.around, " · in "...), protocol...)
			d.ip(s)
			return true
		case layers.LayerTypeEthernet:
			d.around = append(append(d.around, " · in "...), protocol...)
			d.ethernet(s)
			return true
		case gopacket.LayerTypePayload, gopacket.LayerTypeFragment, gopacket.LayerTypeDecodeFailure:
			d.payload(s)
			return true
		}
		fields := values(l)
		if i == 0 {
			d.say(clip(strings.Join(fields, " "), 120))
			if len(fields) == 0 {
				d.say(counted(size, "byte"))
			}
		}
		if d.tree {
			n := d.open(l.LayerType().String(), s, size)
			n.summary(clip(strings.Join(fields, ", "), 120))
			for _, f := range fields {
				name, value, _ := strings.Cut(f, "=")
				n.add(name, at, size, value)
			}
		}
		s = inner
	}
	d.payload(s)
	return true
}

// decodeOther recovers from gopacket's panics, of which its own recovery leaves
// those of the layers' methods.
func decodeOther(b []byte, first gopacket.LayerType) (found []gopacket.Layer) {
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	p := gopacket.NewPacket(b, first, gopacket.DecodeOptions{NoCopy: true})
	for _, l := range p.Layers() {
		if len(found) == maxNesting {
			break
		}
		l.LayerContents()
		found = append(found, l)
	}
	return found
}

// values are a layer's plain fields as "Name=value".
func values(l gopacket.Layer) (out []string) {
	v := reflect.Indirect(reflect.ValueOf(l))
	if v.Kind() != reflect.Struct {
		return nil
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Anonymous || f.Name == "Contents" || f.Name == "Payload" {
			continue
		}
		var text string
		switch x := v.Field(i).Interface().(type) {
		case []byte:
			text = textOrHex(x)
		default:
			switch v.Field(i).Kind() {
			case reflect.Pointer, reflect.Interface, reflect.Func, reflect.Map:
				continue
			}
			text = printable([]byte(fmt.Sprint(x)))
		}
		out = append(out, f.Name+"="+clip(text, 200))
	}
	return out
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 { // not inside a character
		most--
	}
	return s[:most] + "…"
}
