package pytorch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// machine runs a pickle of protocol 2, which torch.save writes. It knows the opcodes of tensors in dicts and four
// globals, which build an OrderedDict, a tensor, one of a newer type and a parameter. All others are errors, and nothing that the pickle
// names is called. Each opcode makes at most one value, so memory is proportional to the length of the pickle.
//
// The first fault is kept in err and ends the run. After it, zeros are read.
type machine struct {
	rest  []byte
	stack []any
	memo  map[uint32]any
	err   error
}

// unpickle returns the value of a pickle.
func unpickle(data []byte) (any, error) {
	m := machine{rest: data, memo: map[uint32]any{}}
	if string(m.take(2)) != "\x80\x02" {
		return nil, errors.New("have no pickle of protocol 2, want what torch.save writes by default")
	}
	for m.err == nil {
		op := m.byte()
		if op == '.' {
			return m.pop(), m.err
		}
		at := len(data) - len(m.rest) - 1
		if !m.literal(op) && !m.structure(op) && m.err == nil {
			m.fault("have opcode 0x%02x, want those of tensors only", op)
		}
		if m.err != nil {
			m.err = fmt.Errorf("byte %d: %w", at, m.err)
		}
	}
	return nil, m.err
}

// literal runs an opcode that pushes a value. It returns false for other opcodes.
func (m *machine) literal(op byte) bool {
	le := binary.LittleEndian
	switch op {
	case '(':
		m.push(mark{})
	case 'N':
		m.push(nil)
	case 0x88, 0x89:
		m.push(op == 0x88)
	case 'K':
		m.push(int64(m.byte()))
	case 'M':
		m.push(int64(le.Uint16(m.take(2))))
	case 'J':
		m.push(int64(int32(le.Uint32(m.take(4)))))
	case 0x8a:
		m.push(m.long())
	case 'G':
		m.push(math.Float64frombits(binary.BigEndian.Uint64(m.take(8))))
	case 'X':
		m.push(m.text(le.Uint32(m.take(4))))
	case ')':
		m.push(tuple(nil))
	case ']':
		m.push(&list{})
	case '}':
		m.push(&dict{})
	case 'c':
		m.push(m.global())
	case 'h':
		m.get(uint32(m.byte()))
	case 'j':
		m.get(le.Uint32(m.take(4)))
	default:
		return false
	}
	return true
}

// structure runs an opcode that works on the stack. It returns false for other opcodes.
func (m *machine) structure(op byte) bool {
	switch op {
	case 'q':
		m.memo[uint32(m.byte())] = m.top()
	case 'r':
		m.memo[binary.LittleEndian.Uint32(m.take(4))] = m.top()
	case 't':
		m.push(tuple(m.popMark()))
	case 0x85, 0x86, 0x87:
		m.push(tuple(m.popN(int(op - 0x84))))
	case 'a':
		m.extend(m.popN(1))
	case 'e':
		m.extend(m.popMark())
	case 's':
		m.set(m.popN(2))
	case 'u':
		m.set(m.popMark())
	case 'Q':
		m.made(newStorage(m.pop()))
	case 'R':
		m.reduce()
	case 'b': // attributes of an OrderedDict, which a state dict has; they are not needed
		state := m.pop()
		if _, ok := m.top().(*dict); !ok {
			m.fault("have attributes (%s) for a %s, want them for a dict", kind(state), kind(m.top()))
		}
	default:
		return false
	}
	return true
}

func (m *machine) reduce() {
	args, ok := m.pop().(tuple)
	f, _ := m.pop().(global)
	switch {
	case f == orderedDict && ok && len(args) == 0:
		m.push(&dict{})
	case f == rebuildTensor && ok:
		t, err := newTensor(args)
		m.made(t, err)
	case f == rebuildUntyped && ok:
		t, err := newUntyped(args)
		m.made(t, err)
	case f == rebuildParameter && ok && len(args) > 0 && kind(args[0]) == "tensor":
		m.push(args[0])
	default:
		m.fault("have a call of %.80q with %d arguments, want an empty OrderedDict, a tensor or a parameter", string(f), len(args))
	}
}

// global reads the two lines of a name and refuses all but those of tensors.
func (m *machine) global() global {
	module, name := m.line(), m.line()
	g := global(module + " " + name)
	_, typed := storages[g]
	_, dtype := untyped[g]
	if m.err == nil && !typed && !dtype && !slices.Contains(constructors, g) {
		m.fault("have %.80q, want tensors only; nothing was run; %s", module+"."+name, advice)
	}
	return g
}

func (m *machine) get(i uint32) {
	v, ok := m.memo[i]
	if !ok {
		m.fault("have no value %d in the memo, want one", i)
	}
	m.push(v)
}

func (m *machine) extend(items []any) {
	if l, ok := m.top().(*list); ok {
		l.items = append(l.items, items...)
		return
	}
	m.fault("have a %s, want a list to append to", kind(m.top()))
}

func (m *machine) set(items []any) {
	d, ok := m.top().(*dict)
	if !ok || len(items)%2 != 0 {
		m.fault("have a %s and %d keys and values, want a dict and pairs", kind(m.top()), len(items))
		return
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
}

// made pushes the result of a constructor.
func (m *machine) made(v any, err error) {
	if err != nil && m.err == nil {
		m.err = err
	}
	m.push(v)
}

func (m *machine) fault(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() any { return m.popN(1)[0] }

func (m *machine) top() any {
	if len(m.stack) == 0 {
		m.fault("have an empty stack")
		return nil
	}
	return m.stack[len(m.stack)-1]
}

// popN removes and returns n values, nils if there are fewer.
func (m *machine) popN(n int) []any {
	out := make([]any, n)
	if len(m.stack) < n {
		m.fault("have %d values on the stack, want %d", len(m.stack), n)
		return out
	}
	at := len(m.stack) - n
	copy(out, m.stack[at:])
	m.stack = m.stack[:at]
	return out
}

// popMark removes the last mark and returns the values above it.
func (m *machine) popMark() []any {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := m.popN(len(m.stack) - i - 1)
			m.pop()
			return items
		}
	}
	m.fault("have no mark on the stack")
	return nil
}

// take returns the next n bytes, zeros if there are fewer.
func (m *machine) take(n int) []byte {
	if n > len(m.rest) {
		m.fault("have %d bytes left, want %d: the pickle is cut short", len(m.rest), n)
		m.rest = nil
		return make([]byte, min(n, 8))
	}
	b := m.rest[:n]
	m.rest = m.rest[n:]
	return b
}

func (m *machine) byte() byte { return m.take(1)[0] }

func (m *machine) text(n uint32) string {
	b := m.take(int(n))
	if !utf8.Valid(b) {
		m.fault("have a string that is not UTF-8")
	}
	return string(b)
}

// line returns the text up to the next newline.
func (m *machine) line() string {
	text, _, ok := strings.Cut(string(m.rest[:min(len(m.rest), 256)]), "\n")
	if !ok {
		m.fault("have a name without an end, want one of less than 256 bytes")
		return ""
	}
	m.rest = m.rest[len(text)+1:]
	return text
}

// long reads a little-endian two's complement integer of up to 8 bytes.
func (m *machine) long() int64 {
	n := int(m.byte())
	if n > 8 {
		m.fault("have a number of %d bytes, want at most 8", n)
		return 0
	}
	v := int64(0)
	for i, b := range m.take(n) {
		v |= int64(b) << (8 * i)
	}
	if shift := 64 - 8*n; n > 0 {
		v = v << shift >> shift
	}
	return v
}
