"""Jobs in Kubernetes: manifests, and what a container learns from the variables of its job."""
