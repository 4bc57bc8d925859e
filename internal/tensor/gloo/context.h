#include "../gloo.h"
