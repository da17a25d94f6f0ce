package disk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serve is the process that serves the directory backing at mount, until its
// standard input ends. It reads one order a line and answers each with one line.
func serve(backing, mount string) int {
	f := newFaults()
	answer := json.NewEncoder(os.Stdout)
	root := &node{&fs.LoopbackNode{RootData: &fs.LoopbackRoot{Path: backing}}, f}
	server, err := fs.Mount(mount, root, &fs.Options{MountOptions: fuse.MountOptions{
		// The system call first: it needs no fusermount. The kernel does what it is
		// told about its cache, so that the tests decide what is in it.
		DirectMount: true, FsName: "dtc-failing-disk", Name: "dtc", ExplicitDataCacheControl: true,
	}})
	if err != nil {
		_ = answer.Encode(report{Error: err.Error()})
		return 1
	}
	_ = answer.Encode(report{})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, "orders:", err)
			break
		}
		_ = answer.Encode(f.obey(o))
	}
	f.obey(order{Do: "heal"})
	if err := server.Unmount(); err != nil {
		_ = syscall.Unmount(mount, syscall.MNT_DETACH)
	}
	return 0
}

// node is a file or directory of the backing file system.
type node struct {
	*fs.LoopbackNode
	faults *faults
}

var (
	_ fs.NodeWrapChilder = (*node)(nil)
	_ fs.NodeOpener      = (*node)(nil)
	_ fs.NodeCreater     = (*node)(nil)
	_ fs.NodeRenamer     = (*node)(nil)
	_ fs.NodeUnlinker    = (*node)(nil)
	_ fs.NodeFsyncer     = (*node)(nil)
)

func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{ops.(*fs.LoopbackNode), n.faults}
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.faults.fail(opOpen); errno != 0 {
		return nil, 0, errno
	}
	h, flags, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	if n.faults.keeps() {
		flags |= fuse.FOPEN_KEEP_CACHE
	}
	return newFile(h, n.faults), flags, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.faults.fail(opOpen); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, h, flags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return inode, newFile(h, n.faults), flags, 0
}

func (n *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.faults.fail(opRename); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.faults.fail(opRemove); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// Fsync is asked for directories too.
func (n *node) Fsync(_ context.Context, h fs.FileHandle, _ uint32) syscall.Errno {
	what, _ := n.faults.next(opSync)
	if f, ok := h.(*file); ok {
		f.synced(what == lose)
	}
	switch what {
	case "":
		return 0 // nobody cuts the power of the backing file system
	case enospc:
		return syscall.ENOSPC
	default:
		return syscall.EIO
	}
}

// file is an open file, which knows what it held when it was last synced.
type file struct {
	*fs.LoopbackFile
	faults *faults
	mu     sync.Mutex
	before []piece // what was overwritten since then, oldest first
}

type piece struct {
	off  int64
	data []byte
}

func newFile(h fs.FileHandle, f *faults) *file {
	return &file{LoopbackFile: h.(*fs.LoopbackFile), faults: f}
}

// PassthroughFd keeps the kernel from going to the backing file by itself.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := f.faults.fail(opAllocate); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Allocate(ctx, off, size, mode)
}

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	switch what, again := f.faults.next(opWrite); {
	case what == enospc || what == short && again:
		return 0, syscall.ENOSPC
	case what == eio || what == lose:
		return 0, syscall.EIO
	case what == short:
		data = data[:(len(data)+1)/2]
	}
	old := make([]byte, len(data)) // zeros behind the end, which is good enough
	if r, errno := f.Read(ctx, old, off); errno == 0 {
		got, _ := r.Bytes(old)
		copy(old, got)
		r.Done()
	}
	f.mu.Lock()
	f.before = append(f.before, piece{off, old})
	f.mu.Unlock()
	return f.LoopbackFile.Write(ctx, data, off)
}

// synced takes what was written for durable, or undoes it.
func (f *file) synced(undo bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.before) - 1; undo && i >= 0; i-- {
		_, _ = f.LoopbackFile.Write(context.Background(), f.before[i].data, f.before[i].off)
	}
	f.before = nil
}
