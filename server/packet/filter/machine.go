package filter

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

// The operations of classic BPF that this package emits. Source:
// linux/bpf_common.h.
const (
	opLoad4, opLoad2, opLoad1                = 0x20, 0x28, 0x30
	opIndirect4, opIndirect2, opIndirect1    = 0x40, 0x48, 0x50
	opHeaderX                                = 0xb1
	opConstant, opScratch, opScratchX, opLen = 0x00, 0x60, 0x61, 0x80
	opStore                                  = 0x02
	opAddX, opSubX, opMulX, opDivX           = 0x0c, 0x1c, 0x2c, 0x3c
	opOrX, opAndX, opModX, opXorX            = 0x4c, 0x5c, 0x9c, 0xac
	opAdd, opSub, opMul, opDiv               = 0x04, 0x14, 0x24, 0x34
	opOr, opAnd, opShl, opShr, opMod, opXor  = 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4
	opJump                                   = 0x05
	opEqual, opGreater, opAtLeast, opBits    = 0x15, 0x25, 0x35, 0x45
	opEqualX, opGreaterX, opAtLeastX         = 0x1d, 0x2d, 0x3d
	opReturn                                 = 0x06
	opTAX, opTXA                             = 0x07, 0x87
)

// extensions is where the places of a frame end and the kernel's extensions
// begin. Source: SKF_AD_OFF in linux/filter.h.
const extensions = 0xfffff000

// run is the kernel's machine, on a frame as the kernel sees it where a VLAN tag
// stands in its place. It is not the one of x/net/bpf because that has neither
// the hardware and packet type nor a length other than that of the data.
func run(program []bpf.RawInstruction, data []byte, hardware, packetType, length uint32) bool {
	var a, x uint32
	var scratch [scratchSize]uint32
	for i := 0; i < len(program); i++ {
		ins := &program[i]
		k := ins.K
		switch ins.Op {
		case opLoad4, opLoad2, opLoad1:
			switch {
			case k < extensions:
				var ok bool
				if a, ok = load(data, k, ins.Op); !ok {
					return false
				}
			case k == extensions+uint32(bpf.ExtLinkLayerType):
				a = hardware
			case k == extensions+uint32(bpf.ExtType):
				a = packetType
			default: // no tag is beside the frame
				a = 0
			}
		case opIndirect4, opIndirect2, opIndirect1:
			var ok bool
			if a, ok = load(data, x+k, ins.Op-(opIndirect4-opLoad4)); !ok {
				return false
			}
		case opHeaderX:
			if uint64(k) >= uint64(len(data)) {
				return false
			}
			x = uint32(data[k]&0x0f) * 4
		case opConstant:
			a = k
		case opLen:
			a = length
		case opScratch:
			a = scratch[k&(scratchSize-1)]
		case opScratchX:
			x = scratch[k&(scratchSize-1)]
		case opStore:
			scratch[k&(scratchSize-1)] = a
		case opAdd:
			a += k
		case opSub:
			a -= k
		case opMul:
			a *= k
		case opDiv:
			a /= k
		case opMod:
			a %= k
		case opOr:
			a |= k
		case opAnd:
			a &= k
		case opXor:
			a ^= k
		case opShl:
			a <<= k
		case opShr:
			a >>= k
		case opAddX:
			a += x
		case opSubX:
			a -= x
		case opMulX:
			a *= x
		case opDivX:
			if x == 0 {
				return false
			}
			a /= x
		case opModX:
			if x == 0 {
				return false
			}
			a %= x
		case opOrX:
			a |= x
		case opAndX:
			a &= x
		case opXorX:
			a ^= x
		case opJump:
			i += int(k)
		case opEqual:
			i += branch(ins, a == k)
		case opGreater:
			i += branch(ins, a > k)
		case opAtLeast:
			i += branch(ins, a >= k)
		case opBits:
			i += branch(ins, a&k != 0)
		case opEqualX:
			i += branch(ins, a == x)
		case opGreaterX:
			i += branch(ins, a > x)
		case opAtLeastX:
			i += branch(ins, a >= x)
		case opTAX:
			x = a
		case opTXA:
			a = x
		case opReturn:
			return k != 0
		}
	}
	return false
}

func branch(ins *bpf.RawInstruction, holds bool) int {
	if holds {
		return int(ins.Jt)
	}
	return int(ins.Jf)
}

func load(data []byte, at uint32, op uint16) (uint32, bool) {
	switch {
	case op == opLoad2 && uint64(at)+2 <= uint64(len(data)):
		return uint32(binary.BigEndian.Uint16(data[at:])), true
	case op == opLoad1 && uint64(at) < uint64(len(data)):
		return uint32(data[at]), true
	case op == opLoad4 && uint64(at)+4 <= uint64(len(data)):
		return binary.BigEndian.Uint32(data[at:]), true
	}
	return 0, false
}
