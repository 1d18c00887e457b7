// Stands in for gloo's header of this name: LibTorch holds gloo itself, but its package lacks these headers. See gloo/context.h.

#pragma once
