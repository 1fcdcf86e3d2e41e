/* For LD_PRELOAD by libvirtd: statfs(2) of files below $LABORATORY_SHARED says that they are on NFS.

   All hosts of the laboratory have the same directory for their instances' disks, as hosts of a cloud have one over the network. libvirt
   moves an instance between hosts only if it sees that its disk is on a network file system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

static int is_shared(const char *path)
{
	const char *directory = getenv("LABORATORY_SHARED");
	size_t length = directory ? strlen(directory) : 0;

	return length && strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == 0);
}

#define SHOW(name, type)                                                            \
	int name(const char *path, struct type *found)                              \
	{                                                                           \
		int (*original)(const char *, struct type *) = dlsym(RTLD_NEXT, #name); \
		int result = original(path, found);                                 \
                                                                                    \
		if (result == 0 && is_shared(path))                                 \
			found->f_type = NFS_SUPER_MAGIC;                            \
		return result;                                                      \
	}

SHOW(statfs, statfs)
SHOW(statfs64, statfs64)
