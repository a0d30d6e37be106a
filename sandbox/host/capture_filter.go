package host

import "encoding/binary"

// filter runs classic BPF as the kernel does on a packet socket, for the Model.
// Documentation/networking/filter.rst; the numbers are linux/bpf_common.h's and
// linux/filter.h's.
type filter []Instruction

const (
	bpfLD, bpfLDX, bpfST, bpfSTX, bpfALU, bpfJMP, bpfRET, bpfMISC = 0, 1, 2, 3, 4, 5, 6, 7

	bpfW, bpfH, bpfB                                       = 0x00, 0x08, 0x10
	bpfABS, bpfIND, bpfMEM, bpfLEN, bpfMSH                 = 0x20, 0x40, 0x60, 0x80, 0xa0
	bpfAdd, bpfSub, bpfMul, bpfDiv, bpfOr, bpfAnd          = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50
	bpfLsh, bpfRsh, bpfNeg, bpfMod, bpfXor                 = 0x60, 0x70, 0x80, 0x90, 0xa0
	bpfJA, bpfJEQ, bpfJGT, bpfJGE, bpfJSET                 = 0x00, 0x10, 0x20, 0x30, 0x40
	bpfX, bpfA                                             = 0x08, 0x10
	bpfMemory                                              = 16
	adBegin                                                = 0xfffff000 // SKF_AD_OFF
	adProtocol, adPacketType, adIfindex, adHardware        = 0, 4, 8, 28
	adVLANTag, adVLANPresent, adVLANProtocol               = 44, 48, 60
	packetHost, packetOutgoing                      uint32 = 0, 4
)

// valid refuses what the kernel would: jumps and memory out of range, an end
// without a verdict.
func (f filter) valid() bool {
	for i, in := range f {
		left := len(f) - i - 1
		switch in.Op & 7 {
		case bpfJMP:
			if in.Op&0xf0 == bpfJA && in.K >= uint32(left) || in.Op&0xf0 != bpfJA && int(max(in.Jt, in.Jf)) >= left {
				return false
			}
		case bpfST, bpfSTX:
			if in.K >= bpfMemory {
				return false
			}
		case bpfLD, bpfLDX:
			if in.Op&0xe0 == bpfMEM && in.K >= bpfMemory {
				return false
			}
		case bpfALU:
			if op := in.Op & 0xf0; (op == bpfDiv || op == bpfMod) && in.Op&bpfX == 0 && in.K == 0 {
				return false
			}
		}
	}
	return len(f) == 0 || f[len(f)-1].Op&7 == bpfRET
}

// seen is a packet as a filter finds it.
type seen struct {
	data     []byte
	hardware uint16
	out      bool
}

// load reads size bytes at an offset, or of what the kernel knows besides.
func (p seen) load(at uint32, size int) (v uint32, ok bool) {
	if at >= adBegin {
		switch at - adBegin {
		case adProtocol:
			if p.hardware == HardwareNone && len(p.data) > 0 {
				return map[byte]uint32{4: etherIPv4, 6: etherIPv6}[p.data[0]>>4], true
			}
			return p.load(12, 2)
		case adPacketType:
			if p.out {
				return packetOutgoing, true
			}
			return packetHost, true
		case adHardware:
			return uint32(p.hardware), true
		case adIfindex, adVLANTag, adVLANPresent, adVLANProtocol:
			return 0, true // the Model has no VLANs
		}
		return 0, false
	}
	if uint64(at)+uint64(size) > uint64(len(p.data)) {
		return 0, false
	}
	b := p.data[at:]
	switch size {
	case 1:
		return uint32(b[0]), true
	case 2:
		return uint32(binary.BigEndian.Uint16(b)), true
	}
	return binary.BigEndian.Uint32(b), true
}

// run is how many bytes of the packet to keep; f is valid.
func (f filter) run(p seen) uint32 {
	if len(f) == 0 {
		return MaxSnap
	}
	var a, x uint32
	var memory [bpfMemory]uint32
	size := map[uint16]int{bpfW: 4, bpfH: 2, bpfB: 1}
	for pc := 0; pc < len(f); pc++ {
		in := f[pc]
		operand := in.K
		if in.Op&bpfX != 0 {
			operand = x
		}
		switch in.Op & 7 {
		case bpfLD, bpfLDX:
			v, ok := in.K, true
			switch in.Op & 0xe0 {
			case bpfABS:
				v, ok = p.load(in.K, size[in.Op&0x18])
			case bpfIND:
				v, ok = p.load(x+in.K, size[in.Op&0x18])
			case bpfMEM:
				v = memory[in.K]
			case bpfLEN:
				v = uint32(len(p.data))
			case bpfMSH:
				v, ok = p.load(in.K, 1)
				v = v & 15 * 4
			}
			if !ok {
				return 0
			}
			if in.Op&7 == bpfLD {
				a = v
			} else {
				x = v
			}
		case bpfST:
			memory[in.K] = a
		case bpfSTX:
			memory[in.K] = x
		case bpfALU:
			switch in.Op & 0xf0 {
			case bpfAdd:
				a += operand
			case bpfSub:
				a -= operand
			case bpfMul:
				a *= operand
			case bpfDiv, bpfMod:
				switch {
				case operand == 0:
					return 0
				case in.Op&0xf0 == bpfDiv:
					a /= operand
				default:
					a %= operand
				}
			case bpfOr:
				a |= operand
			case bpfAnd:
				a &= operand
			case bpfLsh:
				a <<= operand & 31
			case bpfRsh:
				a >>= operand & 31
			case bpfNeg:
				a = -a
			case bpfXor:
				a ^= operand
			}
		case bpfJMP:
			hit := false
			switch in.Op & 0xf0 {
			case bpfJA:
				pc += int(in.K)
				continue
			case bpfJEQ:
				hit = a == operand
			case bpfJGT:
				hit = a > operand
			case bpfJGE:
				hit = a >= operand
			case bpfJSET:
				hit = a&operand != 0
			}
			if hit {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case bpfRET:
			if in.Op&0x18 == bpfA {
				return a
			}
			return in.K
		case bpfMISC:
			if in.Op&0xf8 == 0x80 { // TXA
				a = x
			} else {
				x = a
			}
		}
	}
	return 0
}
