package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wholeJournal is the file of a journal with entries, keys, pending ones, values and free pages.
func wholeJournal(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := Open(path, Options{To: []string{"lines"}})
	for i := 0; err == nil && i < 40; i++ {
		_, _, err = j.Append(fmt.Sprint(i), content(strings.Repeat("x", 300)))
	}
	if err == nil {
		_, err = j.Prune(func(seq uint64, _ int, _ []byte) bool { return seq > 9 })
	}
	if err == nil {
		err = j.Published("lines", 11, 12, 13)
	}
	if err == nil {
		_, err = j.Prune(func(seq uint64, _ int, _ []byte) bool { return seq > 12 })
	}
	if err == nil {
		err = j.Put("review", "1", []byte("good"))
	}
	if err == nil {
		err = j.Close()
	}
	data, failed := os.ReadFile(path)
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return data
}

// patched is data with what patches says: an offset of three bytes, a length of one, and as many bytes. The checksums of
// the headers are made right again.
func patched(data, patches []byte) []byte {
	data = bytes.Clone(data)
	for len(patches) > 4 {
		at := int(patches[0]) | int(patches[1])<<8 | int(patches[2])<<16
		n := min(int(patches[3]), len(patches)-4)
		copy(data[at%len(data):], patches[4:4+n])
		patches = patches[4+n:]
	}
	for at := pageHead; at < 2*os.Getpagesize(); at += os.Getpagesize() {
		sum := fnv.New64a()
		_, _ = sum.Write(data[at : at+56])
		binary.NativeEndian.PutUint64(data[at+56:], sum.Sum64())
	}
	return data
}

// patch is one patch of eight bytes.
func patch(at int, value uint64) []byte {
	return binary.NativeEndian.AppendUint64([]byte{byte(at), byte(at >> 8), byte(at >> 16), 8}, value)
}

// tree returns the newest header of a journal and the pages of branches, leaves and the list of free pages.
func tree(t testing.TB, data []byte) (headers []int, root, free int) {
	size := os.Getpagesize()
	le := binary.NativeEndian
	newest := 0
	if le.Uint64(data[size+pageHead+48:]) > le.Uint64(data[pageHead+48:]) {
		newest = size
	}
	return []int{0, size}, int(le.Uint64(data[newest+pageHead+16:])) * size, int(le.Uint64(data[newest+pageHead+32:])) * size
}

// FuzzJournal holds that a file by others is refused in one line that names it, or is a journal all of whose calls end.
func FuzzJournal(f *testing.F) {
	whole := wholeJournal(f)
	headers, root, free := tree(f, whole)
	size := os.Getpagesize()
	f.Add([]byte{})
	f.Add(patch(root+8, 0x0001|2<<16))                                                           // a leaf that says it is a branch
	f.Add(patch(root+pageHead+8, uint64(1)<<40))                                                 // a key of a terabyte
	f.Add(patch(free+8, 0xFFFF0010))                                                             // a long list of free pages …
	f.Add(append(patch(free+8, 0xFFFF0010), patch(free+16, 1<<36)...))                           // … of 2^36
	f.Add(patch(free+16, uint64(root/size)))                                                     // the root is free
	f.Add(append(patch(headers[0]+pageHead+40, 1<<60), patch(headers[1]+pageHead+40, 1<<60)...)) // 2^60 pages
	f.Add(append(patch(headers[0]+pageHead+8, 0), patch(headers[1]+pageHead+8, 0)...))           // of no bytes
	for page := 2; page < len(whole)/size; page++ {                                              // branches that lead to themselves
		self := patch(page*size+8, 0x0001|1<<16)
		self = append(self, patch(page*size+pageHead, 0)...)
		f.Add(append(self, patch(page*size+pageHead+8, uint64(page))...))
	}
	path := filepath.Join(f.TempDir(), "journal.db")
	f.Fuzz(func(t *testing.T, patches []byte) {
		hang := time.AfterFunc(2*time.Minute, func() { panic("the journal hangs") })
		defer hang.Stop()
		if err := os.WriteFile(path, patched(whole, patches), 0o644); err != nil {
			t.Fatal(err)
		}
		told := func(err error) {
			if err != nil && (!strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("have %q, want one line that begins with the file", err)
			}
		}
		j, err := Open(path, Options{To: []string{"lines"}})
		if told(err); err != nil {
			return
		}
		seen := 0
		told(j.Newest(0, func(Entry) bool { seen++; return true }))
		if seen > len(whole) {
			t.Errorf("have %d entries in %d bytes", seen, len(whole))
		}
		_, err = j.Pending("lines", 100)
		told(err)
		_, _, err = j.ByKey("20")
		told(err)
		told(j.Values("review", func(string, []byte) bool { return true }))
		e, _, err := j.Append("new", content("y"))
		if told(err); err == nil {
			if have, ok, err := j.Get(e.ID); err != nil || !ok || !bytes.Equal(have.Data, e.Data) {
				t.Errorf("%s: have %v, %v", e.ID, ok, err)
			}
			told(j.Published("lines", e.Seq))
		}
		_, err = j.Prune(func(uint64, int, []byte) bool { return false })
		told(err)
		told(j.Close())
	})
}

// TestDamageThatKills holds that damage from which a process does not recover is found before bbolt meets it.
func TestDamageThatKills(t *testing.T) {
	whole := wholeJournal(t)
	headers, root, free := tree(t, whole)
	size := os.Getpagesize()
	for name, patches := range map[string][]byte{
		"loop": append(append(patch(root+8, 0x0001|1<<16), patch(root+pageHead, 0)...),
			patch(root+pageHead+8, uint64(root/size))...),
		"long list of free pages": append(patch(free+8, 0xFFFF0010), patch(free+16, 1<<36)...),
		"free root":               patch(free+16, uint64(root/size)),
		"pages beyond the end": append(patch(headers[0]+pageHead+40, 1<<60),
			patch(headers[1]+pageHead+40, 1<<60)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := os.WriteFile(path, patched(whole, patches), 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := check(f); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("have %v, want damage", err)
			}
			if _, err := Open(path, Options{}); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("have %v, want damage of %s", err, path)
			}
		})
	}
}
