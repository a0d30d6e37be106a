package filter

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

// operation is what an instruction does. The numbers are dense, other than the
// kernel's, so that the machine's switch is one jump.
type operation uint8

const (
	invalid operation = iota
	load4
	load2
	load1
	loadHardware
	loadPacketType
	loadTag // there is none beside a frame in memory
	loadLength
	loadConstant
	loadScratch
	indirect4
	indirect2
	indirect1
	headerLengthX
	scratchX
	store
	add
	subtract
	multiply
	divide
	or
	and
	shiftLeft
	shiftRight
	modulo
	xor
	addX
	subtractX
	multiplyX
	divideX
	orX
	andX
	moduloX
	xorX
	jump
	ifEqual
	ifGreater
	ifAtLeast
	ifBits
	ifEqualX
	ifGreaterX
	ifAtLeastX
	moveAX // X = A
	moveXA // A = X
	accept
	reject
)

// opReturn is the kernel's code of "return a constant".
const opReturn = 0x06

// operations has the kernel's codes that this package emits. Source:
// linux/bpf_common.h.
var operations = map[uint16]operation{
	0x20: load4, 0x28: load2, 0x30: load1, 0x80: loadLength, 0x00: loadConstant, 0x60: loadScratch,
	0x40: indirect4, 0x48: indirect2, 0x50: indirect1, 0xb1: headerLengthX, 0x61: scratchX, 0x02: store,
	0x04: add, 0x14: subtract, 0x24: multiply, 0x34: divide, 0x44: or, 0x54: and,
	0x64: shiftLeft, 0x74: shiftRight, 0x94: modulo, 0xa4: xor,
	0x0c: addX, 0x1c: subtractX, 0x2c: multiplyX, 0x3c: divideX, 0x4c: orX, 0x5c: andX, 0x9c: moduloX, 0xac: xorX,
	0x05: jump, 0x15: ifEqual, 0x25: ifGreater, 0x35: ifAtLeast, 0x45: ifBits,
	0x1d: ifEqualX, 0x2d: ifGreaterX, 0x3d: ifAtLeastX,
	0x07: moveAX, 0x87: moveXA,
}

// extensions is where the places of a frame end and the kernel's extensions
// begin. Source: SKF_AD_OFF in linux/filter.h.
const extensions = 0xfffff000

// step is an instruction as the machine runs it.
type step struct {
	do         operation
	ifSo, ifNo uint8 // instructions to skip
	k          uint32
}

func steps(program []bpf.RawInstruction) []step {
	out := make([]step, len(program))
	for i, p := range program {
		s := step{operations[p.Op], p.Jt, p.Jf, p.K}
		switch {
		case p.Op == opReturn && p.K != 0:
			s.do = accept
		case p.Op == opReturn:
			s.do = reject
		case s.do < load4 || s.do > load1 || p.K < extensions:
		case p.K == extensions+uint32(bpf.ExtLinkLayerType):
			s.do = loadHardware
		case p.K == extensions+uint32(bpf.ExtType):
			s.do = loadPacketType
		default:
			s.do = loadTag
		}
		out[i] = s
	}
	return out
}

// run is the kernel's machine, on a frame as the kernel sees it where a VLAN tag
// stands in its place. It is not the one of x/net/bpf because that has neither
// the hardware and packet type nor a length other than that of the data.
func run(program []step, data []byte, hardware, packetType, length uint32) bool {
	var a, x uint32
	var scratch [scratchSize]uint32
	for i := 0; i < len(program); i++ {
		s := &program[i]
		k := s.k
		switch s.do {
		case load4, indirect4:
			at := uint64(k)
			if s.do == indirect4 {
				at = uint64(x + k) // in 32 bits, as in the kernel
			}
			if at+4 > uint64(len(data)) {
				return false
			}
			a = binary.BigEndian.Uint32(data[at:])
		case load2, indirect2:
			at := uint64(k)
			if s.do == indirect2 {
				at = uint64(x + k)
			}
			if at+2 > uint64(len(data)) {
				return false
			}
			a = uint32(binary.BigEndian.Uint16(data[at:]))
		case load1, indirect1:
			at := uint64(k)
			if s.do == indirect1 {
				at = uint64(x + k)
			}
			if at >= uint64(len(data)) {
				return false
			}
			a = uint32(data[at])
		case loadHardware:
			a = hardware
		case loadPacketType:
			a = packetType
		case loadTag:
			a = 0
		case loadLength:
			a = length
		case loadConstant:
			a = k
		case loadScratch:
			a = scratch[k%scratchSize]
		case scratchX:
			x = scratch[k%scratchSize]
		case store:
			scratch[k%scratchSize] = a
		case headerLengthX:
			if uint64(k) >= uint64(len(data)) {
				return false
			}
			x = uint32(data[k]&0x0f) * 4
		case add:
			a += k
		case subtract:
			a -= k
		case multiply:
			a *= k
		case divide:
			a /= k
		case modulo:
			a %= k
		case or:
			a |= k
		case and:
			a &= k
		case xor:
			a ^= k
		case shiftLeft:
			a <<= k
		case shiftRight:
			a >>= k
		case addX:
			a += x
		case subtractX:
			a -= x
		case multiplyX:
			a *= x
		case divideX:
			if x == 0 {
				return false
			}
			a /= x
		case moduloX:
			if x == 0 {
				return false
			}
			a %= x
		case orX:
			a |= x
		case andX:
			a &= x
		case xorX:
			a ^= x
		case jump:
			i += int(k)
		case ifEqual:
			i += s.skip(a == k)
		case ifGreater:
			i += s.skip(a > k)
		case ifAtLeast:
			i += s.skip(a >= k)
		case ifBits:
			i += s.skip(a&k != 0)
		case ifEqualX:
			i += s.skip(a == x)
		case ifGreaterX:
			i += s.skip(a > x)
		case ifAtLeastX:
			i += s.skip(a >= x)
		case moveAX:
			x = a
		case moveXA:
			a = x
		case accept:
			return true
		default: // reject; steps makes nothing else
			return false
		}
	}
	return false
}

func (s *step) skip(holds bool) int {
	if holds {
		return int(s.ifSo)
	}
	return int(s.ifNo)
}
