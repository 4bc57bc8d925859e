package export

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// The programs that exported files are compared with.
const (
	ONNXRuntime = "onnxruntime" // its CPU provider
	OpenVINO    = "openvino"    // its CPU plugin, in float32
)

//go:embed verify.py
var script string

// Python is an interpreter and what it can import of the packages that check and run ONNX files.
type Python struct {
	Path     string            `json:"-"`
	Version  string            `json:"python"`
	Versions map[string]string `json:"versions"` // of onnx, ONNXRuntime and OpenVINO
	Failed   map[string]string `json:"failed"`   // why a package that is there cannot be imported
}

// FindPython asks an interpreter what it can import.
func FindPython(ctx context.Context, path string) (*Python, error) {
	p := &Python{Path: path}
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("%s: have no such program, want a Python", path)
	}
	p.Path = found
	out, err := p.output(ctx, "list")
	if err == nil {
		err = json.Unmarshal(out, p)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Runtimes are the programs at hand that run ONNX files. None is an error that says what is missing.
func (p *Python) Runtimes() (names []string, err error) {
	var why []string
	for _, name := range []string{ONNXRuntime, OpenVINO} {
		switch {
		case p.Versions[name] != "":
			names = append(names, name)
		case p.Failed[name] != "":
			why = append(why, name+" cannot be imported ("+p.Failed[name]+")")
		}
	}
	if names != nil {
		return names, nil
	}
	if why == nil {
		why = []string{"have neither package"}
	}
	return nil, fmt.Errorf("%s: want onnxruntime or openvino to run the file: %s "+
		"(pip install onnxruntime openvino; MVAG_PYTHON names another Python)",
		p.Path, strings.Join(why, "; "))
}

// Check runs the checker of package onnx on a file, with all types and shapes inferred. checked is false where the
// package is not at hand.
func (p *Python) Check(ctx context.Context, model string) (checked bool, err error) {
	if p.Versions["onnx"] == "" {
		return false, nil
	}
	if _, err := p.output(ctx, "check", model); err != nil {
		return true, fmt.Errorf("%s: onnx %s: %w", model, p.Versions["onnx"], err)
	}
	return true, nil
}

// output runs the script to its end.
func (p *Python) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.Path, append([]string{"-c", script}, args...)...)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err := cmd.Run()
	return out.Bytes(), explain(ctx, err, failure.String())
}

// explain is why a run of the script failed: the last line that it wrote, where err, which may be nil, only says that.
func explain(ctx context.Context, err error, failure string) error {
	if err == nil || ctx.Err() != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	lines := strings.Split(strings.TrimSpace(failure), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return errors.New(last)
	}
	return err
}

// session is a runtime that has loaded a file and answers records.
type session struct {
	ctx     context.Context
	name    string // of the runtime, with its version
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	failure bytes.Buffer
	broken  bool // the program has stopped answering
}

// start loads a file in a runtime, which is told what arrays a record consists of. The caller ends the session.
func (p *Python) start(ctx context.Context, model, runtime string, arrays any) (*session, error) {
	s := &session{ctx: ctx, name: runtime + " " + p.Versions[runtime]}
	s.cmd = exec.CommandContext(ctx, p.Path, "-c", script, "run", model, runtime)
	s.cmd.Stderr = &s.failure
	line, err := json.Marshal(arrays)
	if err != nil {
		return nil, err
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReaderSize(out, 1<<20)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make([]byte, len("ready\n"))
	if err := s.ask(append(line, '\n'), ready); err != nil {
		return nil, s.end(err)
	}
	return s, nil
}

// ask sends a record and fills answers with what comes back.
func (s *session) ask(record []byte, answers ...[]byte) error {
	_, err := s.in.Write(record)
	for _, a := range answers {
		if err == nil {
			_, err = io.ReadFull(s.out, a)
		}
	}
	s.broken = err != nil
	return err
}

// end ends the program and returns err. Where the program failed, it says why.
func (s *session) end(err error) error {
	closed := s.in.Close()
	surplus, _ := io.Copy(io.Discard, s.out) // until the program ends
	waited := s.cmd.Wait()
	switch {
	case s.broken && waited != nil, err == nil && waited != nil:
		return fmt.Errorf("%s: %w", s.name, explain(s.ctx, waited, s.failure.String()))
	case err == nil && surplus > 0:
		return fmt.Errorf("%s: have %d bytes more than the outputs that are declared", s.name, surplus)
	}
	return cmp.Or(err, closed)
}
