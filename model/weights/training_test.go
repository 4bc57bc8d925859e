package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/pytorch"
	"mvag-torch/internal/safetensors"
)

// tree is what a training saves: tensors, numbers and further trees by name.
type tree map[string]any

// counter is a tensor of one int64.
type counter int64

// torchSave writes a tree as torch.save does, without its memo.
func torchSave(t *testing.T, root tree) *pytorch.File {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	put := func(name string, content []byte) {
		e, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = e.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	number := func(n int64) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	tuple := func(ns []int64) string {
		out := "("
		for _, n := range ns {
			out += number(n)
		}
		return out + "t"
	}
	keys := 0
	tensor := func(kind string, n int, shape, strides []int64, data []byte) string {
		key := fmt.Sprint(keys)
		keys++
		put("data/"+key, data)
		return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + kind + "\n" + text(key) + text("cpu") + number(int64(n)) + "tQ" +
			number(0) + tuple(shape) + tuple(strides) + "\x89ccollections\nOrderedDict\n)RtR"
	}
	var value func(v any) string
	value = func(v any) string {
		switch v := v.(type) {
		case Tensor: // transposed, if it is a matrix
			shape, data, strides := v.Shape, v.Data, make([]int64, len(v.Shape))
			n := int64(1)
			for i := len(shape) - 1; i >= 0; i-- {
				strides[i], n = n, n*shape[i]
			}
			if len(shape) == 2 {
				data = make([]float32, n)
				for i, x := range v.Data {
					data[int64(i)%shape[1]*shape[0]+int64(i)/shape[1]] = x
				}
				strides = []int64{1, shape[0]}
			}
			raw, _ := binary.Append(nil, binary.LittleEndian, data)
			return tensor("FloatStorage", len(data), shape, strides, raw)
		case counter:
			return tensor("LongStorage", 1, nil, nil, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		case int:
			return number(int64(v))
		case tree:
			out := "}("
			for _, key := range slices.Sorted(maps.Keys(v)) {
				out += text(key) + value(v[key])
			}
			return out + "u"
		}
		t.Fatalf("have %T", v)
		return ""
	}
	put("data.pkl", []byte("\x80\x02"+value(root)+"."))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := pytorch.New("x.pth", bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// prefixed returns m under names with a prefix.
func prefixed(m Map, prefix string) tree {
	out := tree{}
	for name, t := range m {
		out[prefix+name] = t
	}
	return out
}

// joined is several trees in one.
func joined(trees ...tree) tree {
	out := tree{}
	for _, t := range trees {
		maps.Copy(out, t)
	}
	return out
}

// inChunks names blocks as DINOv2's training does with block_chunks: two blocks a chunk.
func inChunks(m Map) Map {
	block := regexp.MustCompile(`^blocks\.(\d+)\.`)
	out := Map{}
	for name, t := range m {
		name = block.ReplaceAllStringFunc(name, func(s string) string {
			n := int(s[len("blocks.")] - '0')
			return fmt.Sprintf("blocks.%d.%d.", n/2, n)
		})
		out[name] = t
	}
	return out
}

var trained = Arch{Name: "t", Patch: 2, Dim: 8, Depth: 4, Heads: 2}

// TestFilesOfTrainings: whatever wraps the names of an encoder in the file of a training, it is found, and its tensors
// are those of the plain file, bit for bit.
func TestFilesOfTrainings(t *testing.T) {
	m := trained.Random(3, 2, 1)
	other := trained.Random(3, 2, 2)
	one := Tensor{[]int64{1}, []float32{1}}
	nan := Tensor{[]int64{1}, []float32{float32(math.NaN())}}
	for name, test := range map[string]struct {
		tree    tree
		want    string // of FindNames
		prefix  string // found
		ignored int
	}{
		"plain":                   {prefixed(m, ""), "", "", 0},
		"compiled":                {prefixed(m, "_orig_mod."), "", "_orig_mod.", 0},
		"data-parallel, compiled": {prefixed(m, "module._orig_mod."), "", "module._orig_mod.", 0},
		"only the teacher":        {tree{"teacher": prefixed(m, "backbone.")}, "", "teacher.backbone.", 0},
		"chunks":                  {tree{"model": prefixed(inChunks(m), "teacher.backbone."), "iteration": 124999}, "", "model.teacher.backbone.", 0},
		"Lightning": {tree{"epoch": 3, "state_dict": joined(prefixed(m, "model.encoder."), tree{"neck.bn.num_batches_tracked": counter(7)}), "loops": tree{}},
			"", "state_dict.model.encoder.", 1},
		"teacher beside the student": {tree{"student": prefixed(other, "module.backbone."), "teacher": prefixed(m, "backbone."), "epoch": 99},
			"teacher", "teacher.backbone.", len(m)},
		"student beside the teacher": {tree{"student": prefixed(m, "module.backbone."), "teacher": prefixed(other, "backbone.")},
			"student.module.backbone.", "student.module.backbone.", len(m)},
		"two in one dict": {tree{"model": joined(prefixed(other, "student.backbone."), prefixed(m, "teacher.backbone."))},
			"teacher.backbone.", "model.teacher.backbone.", len(m)},
		"moving average":         {tree{"model": prefixed(other, ""), "model_ema": prefixed(m, "module.")}, "model_ema", "model_ema.module.", len(m)},
		"names of EMA":           {joined(prefixed(other, ""), prefixed(m, "ema_model.")), "ema_model.", "ema_model.", len(m)},
		"the one without prefix": {joined(prefixed(m, ""), prefixed(other, "ema.")), ".", "", len(m)},
		"three wrappers":         {tree{"checkpoint": tree{"model": tree{"state_dict": prefixed(m, "")}}}, "", "checkpoint.model.state_dict.", 0},
		"optimiser's state": {tree{"model": prefixed(m, ""), "optimizer": tree{"state": tree{"0": tree{"exp_avg": one, "step": counter(5)}}}},
			"", "model.", 2},
		"heads and necks": {joined(prefixed(m, "backbone."), tree{"backbone.head.weight": nan, "backbone.fc.bias": one, "backbone.steps": counter(1), "dino_head.mlp.0.weight": one}),
			"", "backbone.", 4},
	} {
		t.Run(name, func(t *testing.T) {
			f := torchSave(t, test.tree)
			n, err := FindNames(f.Names(), test.want)
			if err != nil {
				t.Fatal(err)
			}
			have, ignored, err := n.Encoder(f)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(have, m) {
				t.Errorf("have %q\nwant %q", slices.Sorted(maps.Keys(have)), slices.Sorted(maps.Keys(m)))
			}
			if n.Prefix != test.prefix || len(ignored) != test.ignored {
				t.Errorf("have prefix %q, ignored %q, want %q, %d", n.Prefix, ignored, test.prefix, test.ignored)
			}
			if err := trained.Check(have.Shapes(), 3); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOneOfSeveralEncoders: without a name that tells them apart, the candidates are listed.
func TestOneOfSeveralEncoders(t *testing.T) {
	names := []string{"student.backbone.cls_token", "teacher.backbone.cls_token", "teacher.head.weight"}
	for _, c := range []struct{ want, message string }{
		{"", `have 2 encoders, with the prefixes ["student.backbone." "teacher.backbone."], want the name of one as backbone.prefix or --prefix, such as "teacher.backbone."`},
		{"backbone", `have encoders with the prefixes ["student.backbone." "teacher.backbone."], want one with "backbone" in it`},
		{"teach", `want one with "teach" in it`},
		{".", `want one with "." in it`},
	} {
		if _, err := FindNames(names, c.want); err == nil || !strings.Contains(err.Error(), c.message) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: have %v, want %s", c.want, err, c.message)
		}
	}
	if _, err := FindNames([]string{"cls_token"}, "teacher"); err == nil || !strings.Contains(err.Error(), `prefixes [""], want one with "teacher"`) {
		t.Errorf("have %v, want a refusal", err)
	}
}

// TestOtherModels: what makes an encoder another one is never ignored.
func TestOtherModels(t *testing.T) {
	m := trained.Random(3, 2, 1)
	one := Tensor{[]int64{1}, []float32{1}}
	for name, want := range map[string]string{
		"dist_token":                  `1 unused: "dist_token"`, // DeiT's distillation
		"reg_token":                   `1 unused: "reg_token"`,
		"register_tokens":             `1 unused: "reg_token"`,
		"blocks.0.attn.q_norm.weight": `1 unused: "blocks.0.attn.q_norm.weight"`,
		"norm_pre.weight":             `1 unused: "norm_pre.weight"`,
		"patch_embed.norm.weight":     `1 unused: "patch_embed.norm.weight"`,
		"pos_embed_win":               `1 unused: "pos_embed_win"`,
	} {
		file := maps.Clone(m)
		file[name] = one
		if name == "register_tokens" {
			file["mask_token"] = one // as Meta's files have
		}
		have, _, _, err := Rename(file, "")
		if err == nil {
			err = trained.Check(have.Shapes(), 3)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: have %v, want %s", name, err, want)
		}
	}
	local := Map{} // chunks that count their blocks from 0
	for name, x := range m {
		local[strings.Replace(strings.Replace(name, "blocks.0.", "blocks.0.0.", 1), "blocks.1.", "blocks.1.0.", 1)] = x
	}
	if _, _, _, err := Rename(local, ""); err == nil || !strings.Contains(err.Error(), "have two tensors for") {
		t.Errorf("have %v, want two tensors of one name", err)
	}
}

// TestTypesBesideTheEncoder: tensors of types that mean nothing here are ignored, unless they are parameters.
func TestTypesBesideTheEncoder(t *testing.T) {
	m := trained.Random(3, 2, 1)
	var tensors []safetensors.Tensor
	for name, x := range m {
		tensors = append(tensors, safetensors.Float32("backbone."+name, x.Shape, x.Data))
	}
	types := []safetensors.DType{safetensors.I64, safetensors.Bool, safetensors.U8, safetensors.F8E4M3, safetensors.F8E8M0, safetensors.C64, safetensors.U16}
	for i, d := range types {
		tensors = append(tensors, safetensors.Raw(fmt.Sprintf("backbone.buffer%d", i), d, []int64{1}, make([]byte, d.Size())))
	}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	read := func() (Map, []string, error) {
		t.Helper()
		if err := safetensors.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		f, err := safetensors.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n, err := FindNames(f.Names(), "")
		if err != nil {
			t.Fatal(err)
		}
		return n.Encoder(f)
	}
	have, ignored, err := read()
	if err != nil || !reflect.DeepEqual(have, m) || len(ignored) != len(types) {
		t.Errorf("have %q, ignored %q, %v", slices.Sorted(maps.Keys(have)), ignored, err)
	}
	for i, x := range tensors {
		if x.Name == "backbone.norm_pre.weight" || strings.HasSuffix(x.Name, "blocks.2.mlp.fc1.weight") {
			tensors[i] = safetensors.Raw(x.Name, safetensors.F8E4M3, []int64{32, 8}, make([]byte, 256))
		}
	}
	if _, _, err := read(); err == nil || !strings.Contains(err.Error(), `tensor "backbone.blocks.2.mlp.fc1.weight": have dtype "F8_E4M3", want F32`) {
		t.Errorf("have %v, want a parameter of another type refused", err)
	}
}
