package pytorch

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/safetensors"
)

// TestKinds reads what torch.save wrote (third_party/record_traces.py).
func TestKinds(t *testing.T) {
	content, err := os.ReadFile("testdata/kinds.pth")
	if err != nil {
		t.Fatal(err)
	}
	f, err := New("testdata/kinds.pth", bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	row := []float32{0, 1, 2, 3, 4, 5}
	wants := map[string]struct {
		dtype safetensors.DType
		shape []int64
		data  []float32
	}{
		"f32":        {"F32", []int64{2, 3}, row},
		"f16":        {"F16", []int64{2, 3}, row},
		"bf16":       {"BF16", []int64{2, 3}, row},
		"f64":        {"F64", []int64{2, 3}, row},
		"i64":        {"I64", []int64{2, 3}, nil},
		"transposed": {"F32", []int64{3, 2}, []float32{0, 3, 1, 4, 2, 5}},
		"column":     {"F32", []int64{2}, []float32{1, 4}},
		"parameter":  {"F32", []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6}},
		"scalar":     {"F32", []int64{}, []float32{7}},
		"empty":      {"F32", []int64{2, 0}, []float32{}},
		"expanded":   {"F32", []int64{2, 2}, []float32{1, 1, 1, 1}},
	}
	if have := f.Names(); len(have) != len(wants) || have[0] != "model.f32" || have[9] != "model.empty" {
		t.Errorf("have names %q", have)
	}
	for name, want := range wants {
		name = "model." + name
		dtype, shape, ok := f.Info(name)
		if !ok || dtype != want.dtype || !slices.Equal(shape, want.shape) {
			t.Errorf("%s: have %s %v %v, want %s %v", name, dtype, shape, ok, want.dtype, want.shape)
		}
		data, err := f.Float32(name)
		if want.data == nil {
			if err == nil || !strings.Contains(err.Error(), `testdata/kinds.pth: "model.i64": have dtype "I64"`) {
				t.Errorf("%s: have %v, want a refusal", name, err)
			}
		} else if err != nil || !slices.Equal(data, want.data) {
			t.Errorf("%s: have %v, %v, want %v", name, data, err, want.data)
		}
	}
	if _, err := f.Float32("other"); err == nil || !strings.Contains(err.Error(), `no tensor "other"`) {
		t.Errorf("have %v", err)
	}
}

// The functions below write pickles as torch.save does, without its memo.

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func number(n int32) string {
	return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

func numbersOf(ns []int32) string {
	out := "("
	for _, n := range ns {
		out += number(n)
	}
	return out + "t"
}

// view is a tensor in storage "0" of the given number of float32 elements.
func view(numel, offset int32, shape, strides []int32) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(numel) +
		"tQ" + number(offset) + numbersOf(shape) + numbersOf(strides) + "\x89ccollections\nOrderedDict\n)RtR"
}

// bytesAs is a tensor of n elements of a newer type in storage "0" of some bytes.
func bytesAs(dtype string, bytes, n int32) string {
	return "ctorch._utils\n_rebuild_tensor_v3\n((" + text("storage") + "ctorch.storage\nUntypedStorage\n" + text("0") + text("cpu") + number(bytes) +
		"tQ" + number(0) + numbersOf([]int32{n}) + numbersOf([]int32{1}) + "\x89ccollections\nOrderedDict\n)Rc" + dtype + "\ntR"
}

// pickle is a dict of what body sets.
func pickle(body string) string { return "\x80\x02}(" + body + "u." }

var pair = view(2, 0, []int32{2}, []int32{1})

// archive writes entries, name and content by turns.
func archive(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: entries[i], Method: zip.Store})
		if err == nil {
			_, err = e.Write([]byte(entries[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const eight = "\x00\x00\x80\x3f\x00\x00\x00\x40" // 1 and 2

// load opens the bytes and reads every tensor.
func load(t testing.TB, content []byte) error {
	t.Helper()
	f, err := New("x.pth", bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		_, shape, _ := f.Info(name)
		data, e := f.Float32(name)
		err = errors.Join(err, e)
		want := int64(1)
		for _, n := range shape {
			want *= n
		}
		if e == nil && int64(len(data)) != want {
			t.Errorf("%q: have %d elements, want %d", name, len(data), want)
		}
	}
	return err
}

func TestRefusals(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	attack := func(module, name, args string) string {
		return "\x80\x02c" + module + "\n" + name + "\n" + args + "R."
	}
	data := func(p string) []byte { return archive(t, "x/data.pkl", p, "x/data/0", eight) }
	broken := data(pickle(text("w") + pair))
	broken[bytes.LastIndex(broken, []byte(eight))] ^= 1
	var deflated bytes.Buffer
	w := zip.NewWriter(&deflated)
	e, _ := w.Create("x/data.pkl")
	_, _ = e.Write([]byte(pickle("")))
	w.Close()
	for name, test := range map[string]struct {
		content []byte
		want    string // "" for no error
	}{
		"good":                     {data(pickle(text("w") + pair)), ""},
		"two views":                {data(pickle(text("v") + pair + text("w") + pair)), ""},
		"os.system":                {data(attack("posix", "system", "("+text("touch "+marker)+"t")), `data.pkl: byte 2: have "posix.system", want tensors only; nothing was run; torch.save(model.state_dict(), "weights.pth") saves the weights alone`},
		"eval":                     {data(attack("builtins", "eval", "("+text("1")+"t")), `"builtins.eval"`},
		"a hook of a tensor":       {data(pickle(text("w") + strings.Replace(pair, "\x89ccollections\nOrderedDict\n)R", "\x89cposix\nsystem\n("+text("id")+"tR", 1))), `"posix.system"`},
		"other function of torch":  {data(attack("torch.serialization", "load", "("+text(marker)+"t")), `"torch.serialization.load"`},
		"OrderedDict of items":     {data(attack("collections", "OrderedDict", "("+text("a")+"t")), "have a call of \"collections OrderedDict\" with 1 arguments"},
		"INST":                     {data("\x80\x02(iposix\nsystem\n."), "have opcode 0x69"},
		"OBJ":                      {data("\x80\x02(o."), "have opcode 0x6f"},
		"NEWOBJ":                   {data("\x80\x02)\x81."), "have opcode 0x81"},
		"EXT1":                     {data("\x80\x02\x82\x01."), "have opcode 0x82"},
		"text persistent id":       {data("\x80\x02Pabc\n."), "have opcode 0x50"},
		"protocol 4":               {data("\x80\x04N."), "protocol 2"},
		"bare pickle":              {[]byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), "PyTorch's format before 1.6"},
		"no zip":                   {[]byte("hello"), "have no zip archive"},
		"empty":                    {nil, "have no zip archive"},
		"cut":                      {data(pickle(""))[:60], "zip:"},
		"other zip":                {archive(t, "a.npy", "x"), "have a zip archive without data.pkl"},
		"TorchScript":              {archive(t, "x/data.pkl", pickle(""), "x/constants.pkl", "", "x/code/y.py", ""), "have a TorchScript archive"},
		"entry twice":              {archive(t, "x/data.pkl", pickle(""), "x/data.pkl", pickle("")), "have two entries"},
		"compressed":               {deflated.Bytes(), "have a compressed entry"},
		"big-endian":               {archive(t, "x/data.pkl", pickle(""), "x/byteorder", "big"), `have byte order "big"`},
		"bit rot":                  {broken, "checksum"},
		"no elements":              {archive(t, "x/data.pkl", pickle(text("w")+pair)), `"w": have no entry data/0`},
		"elements cut":             {archive(t, "x/data.pkl", pickle(text("w")+pair), "x/data/0", eight[:4]), `"w": have 4 bytes of elements, want 8`},
		"name twice":               {data(pickle(text("w") + pair + text("w") + pair)), "two tensors of this name"},
		"name a number":            {data(pickle(number(1) + pair)), ""},
		"name a tuple":             {data(pickle(")" + pair)), "have a tuple as the name"},
		"name with its dict twice": {data(pickle(text("a") + "}(" + text("b") + pair + "u" + text("a.b") + pair)), `"a.b": have two tensors of this name`},
		"long names":               {data(pickle(text(strings.Repeat("a", 500)) + "}(" + text(strings.Repeat("b", 12)) + pair + "u")), "want at most 512 bytes"},
		"no dict":                  {data("\x80\x02" + pair + "."), "have a tensor, want a dict"},
		"no tensors":               {data(pickle(text("epoch") + number(3))), "have no tensors, want those of a model"},
		"two models":               {data(pickle(text("student") + "}(" + text("w") + pair + "u" + text("teacher") + "}(" + text("w") + pair + "u")), ""},
		"view beyond its storage":  {data(pickle(text("w") + view(2, 1, []int32{2}, []int32{1}))), "want one inside it"},
		"stride beyond":            {data(pickle(text("w") + view(2, 0, []int32{2}, []int32{2}))), "want one inside it"},
		"negative size":            {data(pickle(text("w") + view(2, 0, []int32{-1}, []int32{1}))), "want a number from 0"},
		"negative offset":          {data(pickle(text("w") + view(2, -1, []int32{1}, []int32{1}))), "want storage, offset"},
		"shape without strides":    {data(pickle(text("w") + view(2, 0, []int32{2, 1}, []int32{1}))), "as many sizes as strides"},
		"expanded to 4 GB":         {data(pickle(text("w") + view(2, 0, []int32{1 << 30}, []int32{0}))), "more than twice the file's size"},
		"expanded without end":     {data(pickle(text("w") + view(2, 0, []int32{math.MaxInt32, math.MaxInt32, math.MaxInt32}, []int32{0, 0, 0}))), "fits 63 bits"},
		"expanded beside another":  {data(pickle(text("v") + pair + text("w") + strings.Replace(view(2, 0, []int32{77}, []int32{0}), number(77), "\x8a\x08"+string(binary.LittleEndian.AppendUint64(nil, 1<<61-1)), 1))), "more than twice the file's size"},
		"empty stack":              {data("\x80\x02."), "have 0 values on the stack"},
		"no mark":                  {data("\x80\x02t."), "have no mark"},
		"memo":                     {data("\x80\x02h\x07."), "have no value 7 in the memo"},
		"pickle cut":               {data("\x80\x02}("), "the pickle is cut short"},
		"string beyond the end":    {data("\x80\x02X\xff\xff\xff\xffab"), "the pickle is cut short"},
		"odd items":                {data(pickle(text("w"))), "1 keys and values"},
		"number of 255 bytes":      {data("\x80\x02\x8a\xff" + strings.Repeat("a", 255) + "."), "have a number of 255 bytes"},
		"dict that holds itself":   {data("\x80\x02}q\x00" + text("a") + "h\x00s."), "have no tensors"},
		"complex elements":         {data(pickle(text("w") + strings.Replace(pair, "FloatStorage", "ComplexFloatStorage", 1))), `"w": have 8 bytes of elements, want 16`},
		"quantized storage":        {data(pickle(text("w") + strings.Replace(pair, "FloatStorage", "QInt8Storage", 1))), `"torch.QInt8Storage"`},
		"eight-bit floats":         {data(pickle(text("w") + bytesAs("torch\nfloat8_e4m3fn", 8, 8))), `"w": have dtype "F8_E4M3", want F32, F16, BF16 or F64`},
		"part of an element":       {data(pickle(text("w") + bytesAs("torch\nuint32", 7, 1))), "want bytes and a type"},
		"bytes of no type":         {data(pickle(text("w") + bytesAs("torch\nfloat32", 8, 2))), `"torch.float32", want tensors only`},
		"bytes beyond the end":     {data(pickle(text("w") + bytesAs("torch\nuint16", 8, 5))), "want one inside it"},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, test.content)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("have %v\nwant one line with %s", err, test.want)
			}
		})
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a pickle was run")
	}
}

func TestTorchScriptIsKnown(t *testing.T) {
	if err := load(t, archive(t, "x/data.pkl", "", "x/constants.pkl", "")); !errors.Is(err, ErrTorchScript) {
		t.Errorf("have %v, want ErrTorchScript", err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	if err := load(t, []byte("package pytorch")); err == nil || !strings.HasPrefix(err.Error(), "x.pth: ") {
		t.Errorf("have %v, want an error that names the file", err)
	}
}

func FuzzUnpickle(f *testing.F) {
	f.Add([]byte(pickle(text("w") + pair)))
	f.Add([]byte(pickle(text("teacher") + "}(" + text("w") + pair + "u" + number(3) + "}(" + text("v") + bytesAs("torch\nuint16", 8, 4) + "u")))
	f.Add([]byte("\x80\x02cposix\nsystem\n(" + text("id") + "tR."))
	f.Add([]byte("\x80\x02]q\x00(K\x01M\x02\x00\x8a\x01\xffG\x3f\xe0\x00\x00\x00\x00\x00\x00N\x88\x89eh\x00a."))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := unpickle(data)
		if d, ok := v.(*dict); err == nil && ok {
			f := &File{size: 1 << 20, entries: map[string]*zip.File{}, tensors: map[string]*tensor{}}
			if err = (&collector{f: f, seen: map[*dict]bool{}}).collect(d, "", 0); err == nil && len(f.names) > 0 {
				t.Fatal("have tensors without elements")
			}
		}
		if err != nil && (len(err.Error()) > 4096 || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("have %.200q, want one short line", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	kinds, err := os.ReadFile("testdata/kinds.pth")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kinds)
	f.Add(archive(f, "x/data.pkl", pickle(text("w")+pair), "x/data/0", eight))
	f.Fuzz(func(t *testing.T, content []byte) { _ = load(t, content) })
}
