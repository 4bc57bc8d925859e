package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"

	"mvag-torch/configs"
)

// objectsOf writes n objects of two views whose images are all different. Object 1 has no image of camera C2.
func objectsOf(t testing.TB, n int) []Object {
	t.Helper()
	dir := t.TempDir()
	objects := make([]Object, n)
	for i := range objects {
		objects[i] = Object{Class: "gear", ID: fmt.Sprintf("gear/OK/S%04d", i), Views: []View{{}, {Camera: 1}}}
		for c := range 2 {
			if i == 1 && c == 1 {
				continue
			}
			img := image.NewNRGBA(image.Rect(0, 0, 6, 6))
			for j := range img.Pix {
				img.Pix[j] = uint8(i*50 + c*20 + j%7 + 1)
			}
			path := filepath.Join(dir, fmt.Sprintf("%d_%d.png", i, c))
			writeFile(t, path, pngBytes(t, img))
			objects[i].Views[c].Path = path
		}
	}
	return objects
}

var smallFit = Fit{Resize: configs.Square(6), Crop: configs.Square(4)}

// drain reads all batches and closes the loader. If pixels are recycled, batches are copied first.
func drain(t testing.TB, l *Loader, recycle bool) []*Batch {
	t.Helper()
	defer l.Close()
	var batches []*Batch
	for {
		b, err := l.Next()
		if err == io.EOF {
			return batches
		}
		if err != nil {
			t.Fatal(err)
		}
		kept := *b
		if recycle {
			kept.Pixels = bytes.Clone(b.Pixels)
			for i := range b.Pixels {
				b.Pixels[i] = 0xaa // what a careless reuse would show
			}
			l.Recycle(b)
		}
		batches = append(batches, &kept)
	}
}

func train(t testing.TB, objects []Object, opt LoaderOptions) *Loader {
	t.Helper()
	l, err := NewTrainLoader(context.Background(), objects, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func evaluate(t testing.TB, objects []Object, opt LoaderOptions) *Loader {
	t.Helper()
	l, err := NewEvalLoader(context.Background(), objects, opt)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEvalLoader(t *testing.T) {
	objects := objectsOf(t, 5)
	batches := drain(t, evaluate(t, objects, LoaderOptions{Source: Source{Fit: smallFit}, Objects: 2, Prefetch: 2}), false)
	if len(batches) != 3 {
		t.Fatalf("have %d batches, want 3", len(batches))
	}
	next := 0
	for k, b := range batches {
		if b.Index != k || b.Views != 2 || b.Tiles != 1 {
			t.Errorf("batch %d: have index %d, %d views and %d tiles", k, b.Index, b.Views, b.Tiles)
		}
		for i, present := range b.Present {
			o := b.Objects[i/2]
			if o != &objects[next+i/2] {
				t.Errorf("batch %d, object %d: have %s, want %s", k, i/2, o.ID, objects[next+i/2].ID)
			}
			want := make([]uint8, 3*16)
			if present {
				if err := fitFile(smallFit, o.Views[i%2].Path, want); err != nil {
					t.Fatal(err)
				}
			}
			if present == b.Content[i].Empty() || present && b.Content[i] != image.Rect(0, 0, 4, 4) {
				t.Errorf("%s, view %d: have the image at %v of the viewport", o.ID, i%2, b.Content[i])
			}
			if present != o.Views[i%2].Present() || !bytes.Equal(b.Pixels[i*48:(i+1)*48], want) {
				t.Errorf("%s, view %d: wrong pixels or present = %t", o.ID, i%2, present)
			}
		}
		next += len(b.Objects)
	}
	if last := batches[2]; len(last.Objects) != 1 || len(last.Present) != 2 || len(last.Pixels) != 2*48 {
		t.Errorf("last batch: have %d objects, %d images, %d values", len(last.Objects), len(last.Present), len(last.Pixels))
	}
}

// TestTrainLoaderEpochs: an epoch contains each object at most once, in another order than the epoch before.
func TestTrainLoaderEpochs(t *testing.T) {
	objects := objectsOf(t, 7)
	const perEpoch, epochs = 3, 6
	batches := drain(t, train(t, objects, LoaderOptions{Source: Source{Fit: smallFit}, Objects: 2, Seed: 1, Count: perEpoch * epochs, Prefetch: 1}), true)
	if len(batches) != perEpoch*epochs {
		t.Fatalf("have %d batches, want %d", len(batches), perEpoch*epochs)
	}
	orders, left := map[string]bool{}, map[string]int{}
	for e := range epochs {
		var ids []string
		for _, b := range batches[e*perEpoch : (e+1)*perEpoch] {
			for _, o := range b.Objects {
				ids = append(ids, o.ID)
			}
		}
		orders[fmt.Sprint(ids)] = true
		for _, o := range objects {
			if !slices.Contains(ids, o.ID) {
				left[o.ID]++
			}
		}
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 2*perEpoch {
			t.Errorf("epoch %d: have an object twice: %v", e, ids)
		}
	}
	if len(orders) != epochs {
		t.Errorf("have %d different orders in %d epochs", len(orders), epochs)
	}
	if len(left) < 2 {
		t.Errorf("the same object sits out every epoch: %v", left)
	}
}

// TestTrainLoaderResume: a loader with Start k continues one with Start 0, whatever Workers, Prefetch and recycling.
func TestTrainLoaderResume(t *testing.T) {
	objects := objectsOf(t, 5)
	opt := LoaderOptions{Source: Source{Fit: smallFit}, Objects: 2, Seed: 42, Count: 11, Workers: 1, Prefetch: 1}
	want := drain(t, train(t, objects, opt), false)
	for _, start := range []int{0, 1, 2, 5, 10} {
		for _, workers := range []int{1, 3, 8} {
			opt := opt
			opt.Start, opt.Count, opt.Workers, opt.Prefetch = start, 11-start, workers, workers
			have := drain(t, train(t, objects, opt), workers > 1)
			if !reflect.DeepEqual(have, want[start:]) {
				t.Errorf("start %d, %d workers: other batches than in one go", start, workers)
			}
		}
	}
	opt.Seed = 43
	if other := drain(t, train(t, objects, opt), false); reflect.DeepEqual(other, want) {
		t.Error("another seed gives the same batches")
	}
}

// TestPermutation pins the order that resumed runs depend on. The values are from a second implementation of PCG-DXSM
// and the shuffle in Python. It also checks that every value comes to every position equally often.
func TestPermutation(t *testing.T) {
	for _, tt := range []struct {
		seed, epoch uint64
		want        []int
	}{
		{1, 0, []int{3, 9, 8, 5, 7, 6, 4, 1, 2, 0}},
		{1, 1, []int{7, 4, 9, 3, 8, 6, 5, 1, 0, 2}},
	} {
		if have := permutation(10, tt.seed, tt.epoch); !slices.Equal(have, tt.want) {
			t.Errorf("seed %d, epoch %d: have %v, want %v", tt.seed, tt.epoch, have, tt.want)
		}
	}
	var places [4][4]int // of value v at place p, over many epochs
	const epochs = 4000
	for e := range uint64(epochs) {
		for p, v := range permutation(4, 7, e) {
			places[v][p]++
		}
	}
	for v, row := range places {
		for p, n := range row {
			if n < epochs/4-150 || n > epochs/4+150 { // five standard deviations
				t.Errorf("value %d at place %d: have %d times of %d, want about %d", v, p, n, epochs, epochs/4)
			}
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	objects := objectsOf(t, 3)
	opt := LoaderOptions{Source: Source{Fit: smallFit}, Objects: 4, Prefetch: 1}
	_, err := NewTrainLoader(t.Context(), nil, opt)
	wantError(t, err, "no training images")
	_, err = NewTrainLoader(t.Context(), objects, opt)
	wantError(t, err, "train.objects: have a batch of 4, want at most the 3 training objects")
	_, err = NewEvalLoader(t.Context(), nil, opt)
	wantError(t, err, "no images")
}

// TestLoaderBadImage: batches before a bad image arrive, then always the error of the first bad image, and nothing
// afterwards.
func TestLoaderBadImage(t *testing.T) {
	objects := objectsOf(t, 8)
	for _, lost := range []int{5, 6} {
		if err := os.Remove(objects[lost].Views[1].Path); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		l := evaluate(t, objects, LoaderOptions{Source: Source{Fit: smallFit}, Objects: 4, Workers: 8, Prefetch: 3})
		if _, err := l.Next(); err != nil {
			t.Fatal(err)
		}
		_, err := l.Next()
		wantError(t, err, objects[5].Views[1].Path)
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("have %v, want a missing file", err)
		}
		if _, again := l.Next(); again != err {
			t.Errorf("have %v after %v", again, err)
		}
		l.Close()
	}
}

// TestLoaderEnds: however a loader ends, Next says why and no goroutine remains, or synctest panics.
func TestLoaderEnds(t *testing.T) {
	objects := objectsOf(t, 6)
	opt := LoaderOptions{Source: Source{Fit: smallFit}, Objects: 2, Workers: 4, Prefetch: 2}
	read := func(t *testing.T, l *Loader, n int) {
		t.Helper()
		for range n {
			if _, err := l.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	ends := func(t *testing.T, l *Loader, want error) {
		t.Helper()
		for range 2 {
			if _, err := l.Next(); !errors.Is(err, want) {
				t.Errorf("have %v, want %v", err, want)
			}
		}
	}
	for name, end := range map[string]func(t *testing.T){
		"close at once": func(t *testing.T) {
			l := train(t, objects, opt)
			l.Close()
			ends(t, l, errClosed)
			l.Close()
		},
		"close in the middle": func(t *testing.T) {
			l := train(t, objects, opt)
			read(t, l, 7)
			l.Close()
		},
		"cancel, without Close": func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			l, err := NewTrainLoader(ctx, objects, opt)
			if err != nil {
				t.Fatal(err)
			}
			read(t, l, 1)
			cancel()
			ends(t, l, context.Canceled)
		},
		"end of the list, without Close": func(t *testing.T) {
			l := evaluate(t, objects, opt)
			read(t, l, 3)
			ends(t, l, io.EOF)
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, end) })
	}
}

// TestLoaderBound: without a reader, Prefetch batches are decoded ahead. Recycled pixels are reused.
func TestLoaderBound(t *testing.T) {
	objects := objectsOf(t, 6)
	synctest.Test(t, func(t *testing.T) {
		l := train(t, objects, LoaderOptions{Source: Source{Fit: smallFit}, Objects: 1, Workers: 4, Prefetch: 3})
		defer l.Close()
		synctest.Wait()
		if n := len(l.queue); n != 3 {
			t.Errorf("have %d batches decoded ahead, want 3", n)
		}
		buffers := map[*uint8]bool{}
		for range 50 {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			buffers[&b.Pixels[0]] = true
			l.Recycle(b)
		}
		if len(buffers) > 3+2 {
			t.Errorf("have %d buffers in use, want at most 5", len(buffers))
		}
	})
}

// TestLoaderSkips: an image that cannot be read counts as missing from the index, in every batch; without Skipped it is
// an error. If all images of a batch are lost, evaluation continues and training stops.
func TestLoaderSkips(t *testing.T) {
	objects := objectsOf(t, 5)
	lacking := slices.Clone(objects)
	for _, at := range [][2]int{{0, 1}, {3, 0}, {3, 1}} {
		o := &lacking[at[0]]
		o.Views = slices.Clone(o.Views)
		writeFile(t, o.Views[at[1]].Path, []byte("no image"))
		o.Views[at[1]] = View{Camera: at[1]}
	}
	for name, start := range map[string]func(testing.TB, []Object, LoaderOptions) *Loader{"train": train, "eval": evaluate} {
		opt := LoaderOptions{Source: Source{Fit: smallFit, Skipped: &Skipped{}}, Objects: 2, Count: 3, Workers: 2, Prefetch: 2}
		have, want := drain(t, start(t, objects, opt), true), drain(t, start(t, lacking, opt), true)
		for k, b := range want {
			if !bytes.Equal(have[k].Pixels, b.Pixels) || !slices.Equal(have[k].Present, b.Present) {
				t.Errorf("%s: batch %d differs", name, k)
			}
			for i, o := range b.Objects {
				if !reflect.DeepEqual(have[k].Objects[i], o) {
					t.Errorf("%s: batch %d: have %+v, want %+v", name, k, have[k].Objects[i], o)
				}
			}
		}
		if n := len(opt.Source.Skipped.Lines()); n != 3 {
			t.Errorf("%s: have %d images left out, want 3", name, n)
		}
		opt.Source.Skipped = nil
		l := start(t, objects, opt)
		var err error
		for err == nil {
			_, err = l.Next()
		}
		wantError(t, err, "not a JPEG, PNG")
		l.Close()
	}
	opt := LoaderOptions{Source: Source{Fit: smallFit, Skipped: &Skipped{}}, Objects: 1, Count: 1, Prefetch: 1}
	if b := drain(t, evaluate(t, objects[3:4], opt), false)[0]; slices.Contains(b.Present, true) || b.Objects[0].ID != objects[3].ID {
		t.Errorf("a lost object: have %+v", b)
	}
	_, err := train(t, objects[3:4], opt).Next()
	wantError(t, err, "3_0.png", "no other image of this batch can be read")
	full := Source{Fit: smallFit, Skipped: &Skipped{}}
	if full.Skip(objects[0].Views[0], &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}) == nil {
		t.Error("too many open files: the image was left out")
	}
}
