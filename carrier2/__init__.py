"""The data plane: a routing model goes in, the text of an nginx configuration comes out."""
